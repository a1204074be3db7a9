"""The message that dispatch writes for an entry, and the worker's check of what it receives."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from rollcall.core.actions import entry_fields
from rollcall.core.entry import LARGEST_PAYLOAD, LONGEST_KEY, checked_idempotency_key, checked_key
from rollcall.core.errors import InvalidEntry, InvalidMessage
from rollcall.core.run import RunRecord, from_iso, iso, job_of
from rollcall.core.tree import Node
from rollcall.core.values import Json, canonical, digest

#: The message attribute on what a take-over sends: it may be on the queue already.
SENT_AGAIN = "sent_again"
#: A payload and two keys, each of their characters in up to twelve bytes of JSON, and everything else.
LONGEST_BODY = LARGEST_PAYLOAD + 2 * 12 * LONGEST_KEY + 1_024
#: Clocks of functions differ by less.
CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Message:
    """One entry on its way to a worker. Everything in it is the same whenever it is sent."""

    run: str
    generation: int
    chunk: int
    index: int
    total: int
    key: str
    payload: Json
    idempotency_key: str | None = None
    #: Of a redriven entry that may have been called without an answer: since when, in ISO 8601.
    unanswered_since: str | None = None
    #: Of a redriven entry that was called with this key: since when, in ISO 8601.
    called_since: str | None = None

    def body(self) -> str:
        """Canonical ASCII JSON: what content-based deduplication hashes."""
        entry: dict[str, Json] = {"key": self.key, "payload": self.payload}
        if self.idempotency_key is not None:
            entry["idempotency_key"] = self.idempotency_key
        if self.unanswered_since is not None:
            entry["unanswered_since"] = self.unanswered_since
        if self.called_since is not None:
            entry["called_since"] = self.called_since
        return canonical(
            {
                "run": self.run,
                "generation": self.generation,
                "chunk": self.chunk,
                "index": self.index,
                "total": self.total,
                "entry": entry,
            }
        )

    @property
    def named(self) -> dict[str, object]:
        """The fields that name the entry in a log line."""
        return entry_fields(self.run, self.generation, self.index)

    @property
    def job(self) -> str:
        return job_of(self.run)

    @property
    def group(self) -> str:
        """The message group: one per entity and job, so that an entity's runs never overlap and no other waits."""
        return digest([self.job, self.key])

    @classmethod
    def parse(cls, body: object) -> Self:
        """The message of a body. Raises InvalidMessage for whatever `body` did not write, byte for byte."""
        if not isinstance(body, str):
            raise InvalidMessage("there is no body")
        if len(body) > LONGEST_BODY:
            raise InvalidMessage(f"the body is not a message of Rollcall: it has {len(body):,} characters")
        try:
            fields = _DECODER.decode(body)
        except (ValueError, RecursionError) as error:
            raise InvalidMessage(f"the body is not JSON: {error}") from error
        try:
            message = cls._of(fields)
            same = message.body() == body
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, InvalidEntry) as error:
            raise InvalidMessage(f"the body is not a message of Rollcall: {_fault(error)}") from error
        if not same:
            raise InvalidMessage("the body is not a message of Rollcall: it is not spelled as one")
        return message

    @classmethod
    def _of(cls, fields: dict[str, Json]) -> Self:
        entry: dict[str, Json] = fields["entry"]  # type: ignore[assignment]
        message = cls(
            run=_text(fields, "run"),
            generation=_whole(fields, "generation"),
            chunk=_whole(fields, "chunk"),
            index=_whole(fields, "index"),
            total=_whole(fields, "total"),
            key=checked_key(entry["key"]),
            payload=entry["payload"],
            idempotency_key=checked_idempotency_key(entry.get("idempotency_key")),
            unanswered_since=_moment(entry, "unanswered_since") if "unanswered_since" in entry else None,
            called_since=_moment(entry, "called_since") if "called_since" in entry else None,
        )
        job_of(message.run)
        return message

    def objection(self, run: RunRecord) -> str | None:
        """Why this cannot be an entry of `run`'s present generation, or None. Checked before any write."""
        if self.generation != run.generation:
            return f"generation {self.generation} is not the run's, {run.generation}"
        if run.nonce is None:
            return "the run was never sealed"
        if self.total != run.total:
            return f"total {self.total} is not the run's, {run.total}"
        if not 0 <= self.index < run.total:
            return f"index {self.index} is outside of the run's {run.total}"
        if run.tree.chunk_of(self.index)[0] != Node(0, self.chunk):
            return f"index {self.index} is not in chunk {self.chunk}"
        for since in (self.unanswered_since, self.called_since):
            if since is not None and from_iso(since) > run.started_at + CLOCK_SKEW:
                return f"it was called before {since}, and the run's generation began at {iso(run.started_at)}"
        return None


def _fault(error: Exception) -> str:
    """What is wrong with a body, without a word of it."""
    if isinstance(error, InvalidEntry):
        return "its key or its idempotency key is none"
    # A KeyError names a field that every message has.
    return f"it has no {error}" if isinstance(error, KeyError) else type(error).__name__


def _not_json(constant: str) -> Json:
    raise ValueError(f"{constant} is no value of JSON")


#: Made once: `json.loads` with an option makes one for each call.
_DECODER = json.JSONDecoder(parse_constant=_not_json)


def _text(fields: dict[str, Json], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise InvalidMessage(f"{name} is not text")
    return value


def _whole(fields: dict[str, Json], name: str) -> int:
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidMessage(f"{name} is not a whole number")
    return value


def _moment(fields: dict[str, Json], name: str) -> str:
    text = _text(fields, name)
    if iso(from_iso(text)) != text:
        raise InvalidMessage(f"{name} is not a moment as it is written here")
    return text
