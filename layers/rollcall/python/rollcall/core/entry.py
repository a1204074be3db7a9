"""An entry as a source yields it, and as the manifest keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rollcall.core.errors import InvalidEntry
from rollcall.core.values import Json, canonical, digest

#: Canonical JSON, so bytes and characters are the same. Ten of them stay near SQS's 1 MiB for a batch
#: (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html).
LARGEST_PAYLOAD = 128 * 1024
LONGEST_KEY = 1024
#: Stands in a rejected line for an idempotency key that cannot be used.
UNUSABLE = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entity of a run, as a source yields it. Nothing is checked here: a bad entry must not stop its source."""

    #: Names the entity within the job: text, 1 to 1,024 characters, unique in a run.
    key: object
    #: What the callback gets, validated against its annotation.
    payload: object
    #: The business's own name for this effect, where there is one: the same over retries, runs and redrives.
    idempotency_key: str | None = None

    @classmethod
    def of(cls, record: Mapping[str, object], key: str) -> Self:
        """An entry whose payload is the whole record and whose key is the record's field `key`, if it is there."""
        return cls(record.get(key), record)


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One line of a manifest."""

    #: None only where the source gave none that is usable; such an entry is rejected.
    key: str | None
    payload: Json
    idempotency_key: str | None = None
    #: Why the entry will not be called, else None.
    rejected: str | None = None
    #: A redriven entry that may have been called without an answer: when that can have been first, in ISO 8601.
    unanswered_since: str | None = None
    #: A redriven entry that was called with this key: when that can have been first, in ISO 8601.
    called_since: str | None = None
    #: A redriven entry of which some answer left open whether the target did anything.
    indefinite: bool = False

    def line(self) -> str:
        """The entry as one line of canonical JSON; fields without a value are left out."""
        fields = {
            "key": self.key,
            "payload": self.payload,
            "idempotency_key": self.idempotency_key,
            "rejected": self.rejected,
            "unanswered_since": self.unanswered_since,
            "called_since": self.called_since,
            "indefinite": self.indefinite or None,
        }
        return canonical({name: value for name, value in fields.items() if value is not None})

    @classmethod
    def from_fields(cls, fields: Mapping[str, Json]) -> Self:
        """The entry of a line that `line` wrote, parsed."""

        def text(name: str) -> str | None:
            value = fields.get(name)
            return value if isinstance(value, str) else None

        return cls(
            key=text("key"),
            payload=fields.get("payload"),
            idempotency_key=text("idempotency_key"),
            rejected=text("rejected"),
            unanswered_since=text("unanswered_since"),
            called_since=text("called_since"),
            indefinite=fields.get("indefinite") is True,
        )


def checked_key(key: object) -> str:
    """`key`, if it can name an entry. Raises InvalidEntry with the reason."""
    if key is None:
        raise InvalidEntry("it has no key")
    if not isinstance(key, str):
        raise InvalidEntry(f"its key is of type {type(key).__name__}, not text: {_shown(key)}")
    if not key.strip():
        raise InvalidEntry("its key is empty")
    if len(key) > LONGEST_KEY:
        raise InvalidEntry(f"its key has {len(key):,} characters; the most is {LONGEST_KEY:,}")
    if not is_unicode(key):
        raise InvalidEntry(f"its key holds half a character, which no service takes: {key!r:.80}")
    return key


def checked_idempotency_key(own: object) -> str | None:
    """`own`, if it can name an effect, or None where there is none. Raises InvalidEntry with the reason."""
    if own is None or (isinstance(own, str) and 0 < len(own) <= LONGEST_KEY and is_unicode(own)):
        return own
    raise InvalidEntry(f"its idempotency key is not text of 1 to {LONGEST_KEY:,} characters: {_shown(own)}")


def _shown(value: object) -> str:
    try:
        return f"{value!r:.80}"
    except Exception:  # a number of more digits than Python writes, or whatever a strange object does
        return "one that cannot be shown"


def is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8: half a surrogate pair, which JSON can spell, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def entry_id(key: str | None, index: int) -> str:
    """What names an entry's record in the ledger: its key, hashed, or its index where it has no key."""
    return digest(key) if key is not None else digest([index])
