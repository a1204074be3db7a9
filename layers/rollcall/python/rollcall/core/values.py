"""Small rules for values that travel: canonical JSON, hashes, aware datetimes."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TypeAlias, TypeVar

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Item = TypeVar("Item")

#: Made once: `json.dumps` with options makes one for each call.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical(value: object) -> str:
    """`value` as ASCII JSON that is equal for equal values, whatever the order of keys.

    Raises ValueError for what JSON has no text for (NaN, infinity) and TypeError for foreign types.
    """
    return _CANONICAL.encode(value)


def counted(number: int, noun: str) -> str:
    """`1 call`, `8,000 calls`; `1 entry`, `2 entries`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{number:,} {noun}s"


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON of `value`, 64 hexadecimal characters; defined for every text."""
    return hashlib.sha256(canonical(value).encode("ascii")).hexdigest()


def utc(moment: datetime) -> datetime:
    """`moment` in UTC. Raises ValueError for a naive datetime: it names no instant."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; pass an aware datetime, e.g. with tzinfo=UTC")
    return moment.astimezone(UTC)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Consecutive lists of up to `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
