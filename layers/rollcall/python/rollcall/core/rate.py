"""A target's rate, and the arithmetic of its slots."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from rollcall.core.errors import DeclarationError

_UNITS = {"s": timedelta(seconds=1), "min": timedelta(minutes=1), "h": timedelta(hours=1)}
_TEXT = re.compile(r"(?P<calls>[0-9]{1,9})/(?P<unit>s|min|h)(?: burst (?P<burst>[0-9]{1,9}))?")
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """An instant as the ledger keeps those that it reckons with: microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds_: int) -> datetime:
    """The instant that `microseconds` made a number of."""
    return _EPOCH + microseconds_ * _MICROSECOND


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `calls` in each `per`, and `burst` of them at once after a rest.

    In a window of any length there are at most `burst` calls more than the rate alone would allow. What counts is
    calls of callbacks and of probes, over all jobs and workers; a callback that makes two requests declares half.
    """

    calls: int
    per: timedelta
    #: None takes what the rate allows in a second, at least 1.
    burst: int | None = None

    def __post_init__(self) -> None:
        if self.calls < 1 or not timedelta(milliseconds=1) <= self.per <= timedelta(days=1):
            raise DeclarationError(f"Rate({self.calls}, {self.per}): take 1 call or more, per millisecond up to a day")
        if self.calls > self.per // _MICROSECOND:
            raise DeclarationError(f"Rate({self.calls}, {self.per}) is more than a million a second; declare no rate")
        if self.burst is not None and self.burst < 1:
            raise DeclarationError(f"Rate(burst={self.burst}): at least 1 call must be allowed at once")

    @classmethod
    def per_second(cls, calls: int, burst: int | None = None) -> Self:
        return cls(calls, _UNITS["s"], burst)

    @classmethod
    def per_minute(cls, calls: int, burst: int | None = None) -> Self:
        return cls(calls, _UNITS["min"], burst)

    @classmethod
    def per_hour(cls, calls: int, burst: int | None = None) -> Self:
        return cls(calls, _UNITS["h"], burst)

    @classmethod
    def parse(cls, text: str) -> Self:
        """`20/s`, `90/min`, `1000/h`, each also with `burst 20`. Raises DeclarationError for any other text."""
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise DeclarationError(f"the rate {text!r} is not of the form 20/s, 90/min, 1000/h or '20/s burst 40'")
        burst = match["burst"]
        return cls(int(match["calls"]), _UNITS[match["unit"]], None if burst is None else int(burst))

    def __str__(self) -> str:
        unit = next((name for name, span in _UNITS.items() if span == self.per), str(self.per))
        return f"{self.calls}/{unit} burst {self.most_at_once}"

    @property
    def interval(self) -> int:
        """Between two calls, in whole microseconds, rounded up: never faster than declared."""
        return -(-(self.per // _MICROSECOND) // self.calls)

    @property
    def most_at_once(self) -> int:
        return self.burst if self.burst is not None else max(1, int(timedelta(seconds=1) / self.per * self.calls))

    @property
    def tolerance(self) -> int:
        """How far a target's next slot may lie in the past, in microseconds: the calls that a rest has saved up."""
        return (self.most_at_once - 1) * self.interval

    def calls_within(self, span: timedelta) -> int:
        """How many calls the rate alone allows in `span`, rounded down."""
        return int(span // _MICROSECOND) // self.interval


@dataclass(frozen=True, slots=True)
class Slots:
    """Times for calls, in order; `following` is the next one that is free, in microseconds."""

    times: Sequence[int]
    following: int


def slots(rate: Rate, free: int | None, now: int, wanted: int, latest: int) -> Slots:
    """Up to `wanted` slots that begin no later than `latest`, from a target whose next slot is `free`.

    The generic cell rate algorithm; all instants in microseconds. A slot in the past is one for now: a rest saves
    up `rate.burst` of them and no more.
    """
    first = now - rate.tolerance if free is None else max(free, now - rate.tolerance)
    fitting = max(0, (latest - first) // rate.interval + 1) if latest >= first else 0
    count = min(wanted, fitting)
    return Slots([max(now, first + number * rate.interval) for number in range(count)], first + count * rate.interval)
