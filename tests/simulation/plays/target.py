"""A target in virtual time: answers after a latency, as scripts and outages say, and remembers when it was called."""

import asyncio
import hashlib
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from rollcall.core.call import IDEMPOTENCY_HEADER, Request, Response
from rollcall.core.errors import NotSent
from tests.simulation.models.virtual_time import VirtualClock

#: A status, a whole answer, or how the call fails (NotSent, Unanswered).
Reply: TypeAlias = int | Response | Exception
#: The reply to the n-th call (from 1) for a key; None leaves it to the target.
Script: TypeAlias = Callable[[str, int], Reply | None]
Latency: TypeAlias = Callable[[Request], timedelta]

_SECOND = timedelta(seconds=1)
_OK = Response(200, {}, b"ok")


@dataclass(frozen=True, slots=True)
class Called:
    """A request that arrived, or that found nobody."""

    key: str
    idempotency_key: str
    at: datetime
    #: The execution environment that made it.
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Outage:
    """From `since` until before `until`, every call ends so."""

    since: datetime
    until: datetime
    reply: Reply = 503


@dataclass
class SimulatedTarget:
    """Answers 200, unless something below says otherwise. The entry's key ends the path."""

    clock: VirtualClock
    latency: timedelta | Latency = timedelta(milliseconds=50)
    outages: list[Outage] = field(default_factory=list)
    #: What single calls get; asked after the outages.
    script: Script | None = None
    #: More calls at once get 429.
    most_in_flight: int | None = None
    #: More calls in any second get 429.
    most_a_second: int | None = None
    #: Every request, in order of arrival.
    calls: list[Called] = field(default_factory=list)
    #: How often the effect took place, by idempotency key; a target that honours keys would make the second a replay.
    effects: Counter[str] = field(default_factory=Counter)
    #: The most calls that were in flight at once.
    peak: int = 0
    _in_flight: int = 0
    _numbers: Counter[str] = field(default_factory=Counter)
    _times: list[datetime] = field(default_factory=list)

    async def send(self, request: Request, origin: str = "") -> Response:
        """The answer. Raises NotSent or Unanswered where a script or an outage says so."""
        key, now = request.path.rsplit("/", 1)[-1], self.clock.now()
        idempotency_key = request.headers.get(IDEMPOTENCY_HEADER, "")
        self.calls.append(Called(key, idempotency_key, now, origin))
        self._numbers[key] += 1
        reply = self._reply(key, now)
        self._times.append(now)
        if _took_effect(reply):
            self.effects[idempotency_key] += 1
        self._in_flight += 1
        self.peak = max(self.peak, self._in_flight)
        try:
            latency = self.latency(request) if callable(self.latency) else self.latency
            await asyncio.sleep(latency.total_seconds())
        finally:
            self._in_flight -= 1
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, Response) else Response(reply, {}, b"")

    def _reply(self, key: str, now: datetime) -> Reply:
        for outage in self.outages:
            if outage.since <= now < outage.until:
                return outage.reply
        if self.most_in_flight is not None and self._in_flight >= self.most_in_flight:
            return 429
        if (
            self.most_a_second is not None
            and len(self._times) - bisect_right(self._times, now - _SECOND) >= self.most_a_second
        ):
            return 429
        reply = self.script(key, self._numbers[key]) if self.script is not None else None
        return _OK if reply is None else reply

    # --- what came of it ---

    def times(self) -> Counter[str]:
        """How often each key was called."""
        return Counter(self._numbers)

    def most_within(self, window: timedelta) -> int:
        """The most calls that arrived in any window of this length."""
        most, first = 0, 0
        for last, at in enumerate(self._times):
            while at - self._times[first] >= window:
                first += 1
            most = max(most, last - first + 1)
        return most

    def between(self, since: datetime, until: datetime) -> int:
        """How many calls arrived from `since` until before `until`."""
        return bisect_left(self._times, until) - bisect_left(self._times, since)


def _took_effect(reply: Reply) -> bool:
    """Whether something was done: by every success, and by an answer that was lost on its way back."""
    if isinstance(reply, Exception):
        return not isinstance(reply, NotSent)
    status = reply.status if isinstance(reply, Response) else reply
    return 200 <= status < 300


def failing(share: float, reply: Reply = 503, *, seed: int = 0) -> Script:
    """A share of calls fails; which of them is a pure function of seed, key and the number of the call."""

    def script(key: str, number: int) -> Reply | None:
        digest = hashlib.sha256(f"{seed} {key} {number}".encode()).digest()
        return reply if int.from_bytes(digest[:8], "big") < share * 2**64 else None

    return script


def scripted(replies: Mapping[str, list[Reply]]) -> Script:
    """Keys that get these replies to their first calls."""
    return lambda key, number: replies[key][number - 1] if number <= len(replies.get(key, [])) else None
