"""Dead letters: settle entries that no worker could handle, so that their run completes."""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from rollcall.adapters.clients import words_of
from rollcall.adapters.ledger import chunk_updates, entries
from rollcall.adapters.ledger.entries import EntryName, Told
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.ledger.update import ConditionFailed
from rollcall.adapters.manifests import Manifests
from rollcall.core.actions import Action, log
from rollcall.core.answers import Answer
from rollcall.core.clock import Clock
from rollcall.core.entry import ManifestEntry
from rollcall.core.errors import InvalidMessage, RollcallError
from rollcall.core.message import Message
from rollcall.core.names import dead_letter_queue_name
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord
from rollcall.core.values import digest
from rollcall.engine.worker.messages import dropped, message_of, objection

REASON = "no worker could handle its message; see the worker's logs"


#: Message ids that are safe as names of objects; ids from SQS are.
_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")


class HeldEntry(RollcallError):
    """A dead letter of a held entry, which is neither settled nor dropped."""


class DeadLetters:
    """A handler of messages from dead-letter queues."""

    def __init__(
        self,
        ledger: Ledger,
        manifests: Manifests,
        clock: Clock,
        #: The environment whose queue names are checked against the letter's job; None to skip the check.
        environment: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._manifests = manifests
        self._clock = clock
        self._environment = environment

    def handle(self, records: Iterable[Mapping[str, Any]]) -> list[str]:
        """Settle an event's records; return the message ids of those to retry."""
        returned = []
        for record in records:
            try:
                self._handle(record)
            except Exception as error:  # one bad letter must not keep the others from being settled
                log(Action.ENTRY_RETURNED, logging.ERROR, message_id=record.get("messageId"), reason=words_of(error))
                returned += [name] if isinstance(name := record.get("messageId"), str) else []
        return returned

    def _handle(self, record: Mapping[str, Any]) -> None:
        try:
            message = message_of(record)
        except InvalidMessage as error:
            return self._keep(record, str(error))
        if self._foreign(record, message):
            return self._keep(record, f"it is of the job {message.job}", message)
        run = self._ledger.run(message.run)
        reason = objection(message, run)
        if run is None or reason is not None:
            return self._keep(record, reason or "its run is not known", message)
        if not self._in_manifest(run, message):
            return self._keep(record, f"the manifest has another entry at index {message.index}", message)
        return self._settle(run, message)

    def _foreign(self, record: Mapping[str, Any], message: Message) -> bool:
        """Return whether the message lies on another job's queue."""
        if self._environment is None:
            return False
        queue = str(record.get("eventSourceARN")).rpartition(":")[2]
        return queue != dead_letter_queue_name(self._environment, message.job)

    def _in_manifest(self, run: RunRecord, message: Message) -> bool:
        """Return whether the message is what dispatch wrote, by its line in the manifest."""
        line = self._manifests.read(run, message.chunk)[run.tree.chunk_of(message.index)[1]]
        sent = ManifestEntry(
            message.key,
            message.payload,
            message.idempotency_key,
            unanswered_since=message.unanswered_since,
            called_since=message.called_since,
        )
        return sent == replace(line, indefinite=False)

    def _settle(self, run: RunRecord, message: Message) -> None:
        chunk, position = run.tree.chunk_of(message.index)
        now = self._clock.now()
        record = self._ledger.nodes(run, [chunk])[chunk]
        if position in record.settled:
            return chunk_updates.count(self._ledger, run, chunk, record, now)
        if position in record.held | record.asking:
            raise HeldEntry(f"{_named(message)} is held, not lost; its dead letter waits until it is settled")
        name = EntryName(message.key, message.index)
        known = entries.records(self._ledger, run, [name])[name]
        outcome = known.outcome
        at_rest: list[int] = []
        if outcome is None:
            attempts = record.attempts.get(position, 0)
            answered = attempts > 0 and known.owner is None and position not in record.unanswered | record.begun
            outcome = Outcome.FAILED if answered else Outcome.UNKNOWN
            at_rest = [position] if answered else []
            answer = Answer(outcome, "dead_letter", REASON, answered=answered)
            since = None if answered else run.started_at
            told = Told(answer, attempts, since, called_since=run.started_at, payload=message.payload)
            entries.note_outcome(self._ledger, run, name, outcome, told, now)
        batch = chunk_updates.Batch({position: outcome}, at_rest=at_rest)
        try:
            chunk_updates.settle(self._ledger, run, chunk, batch, now)
        except ConditionFailed as failure:
            # A worker has begun another copy of the message, which a repair sent.
            raise HeldEntry(f"{_named(message)} is called just now; its dead letter is judged anew") from failure
        log(
            Action.DEAD_LETTER_SETTLED,
            logging.WARNING,
            job=run.job,
            **message.named,
            outcome=outcome,
        )
        return None

    def _keep(self, record: Mapping[str, Any], reason: str, message: Message | None = None) -> None:
        body, name = str(record.get("body", "")), record.get("messageId")
        named = isinstance(name, str) and _NAME.fullmatch(name) is not None
        kept = self._manifests.keep_dead_letter(str(name) if named else digest(body), body)
        dropped(record, reason, message, kept=kept)


def _named(message: Message) -> str:
    """Name the entry of a message without its key."""
    return f"the entry at index {message.index} of {message.run}"
