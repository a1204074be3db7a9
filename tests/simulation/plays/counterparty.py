"""A target that remembers what it did: it honours keys for a time, or takes none; it can be asked; it misbehaves."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

from rollcall.core.call import IDEMPOTENCY_HEADER, Request, Response
from rollcall.core.errors import NotSent, Unanswered
from tests.simulation.models.gate import Crash
from tests.simulation.models.virtual_time import VirtualClock

_DRAWS = 2**64
#: Statuses of which the callback makes errors of its own: to be tried again, and one that it does not know.
TRY_LATER, STRANGE = 202, 203


class Mishap(StrEnum):
    """What can become of one order."""

    #: No connection: nothing was done, and the caller knows.
    NOT_SENT = "not sent"
    BUSY = "429"
    UNAVAILABLE = "503"
    #: Done, and answered with an error all the same.
    BROKEN = "500 after the effect"
    REQUEST_LOST = "request lost on its way to the target"
    ANSWER_LOST = "answer lost on its way from the target"
    #: Done, but only some time after the caller has given up.
    LATE = "late effect"
    #: The answer comes after the caller's patience.
    SLOW = "slow answer"
    LOCKED_OUT = "401"
    TRY_LATER = "to be tried again"
    #: Done, and the callback fails at the answer.
    STRANGE = "strange answer after the effect"
    #: The callback takes its worker down, before or after the effect.
    POISON_BEFORE = "poison before the effect"
    POISON_AFTER = "poison after the effect"


#: How long a busy target asks to be left alone.
BUSY_SECONDS = 3
#: What takes the worker down.
POISON = frozenset({Mishap.POISON_BEFORE, Mishap.POISON_AFTER})


@dataclass(slots=True, repr=False)
class Ordered:
    """One order as it arrived, or found nobody."""

    reference: str
    idempotency_key: str
    run: str
    at: datetime
    origin: str
    #: What the caller was told: a status; None while there is no answer, and for ever where none comes.
    status: int | None = None
    ended: datetime | None = None
    #: Whether the caller knows that nothing arrived.
    not_sent: bool = False
    #: When what it asks for was, or will be, done; None where it was not, or had been before.
    effect_at: datetime | None = None

    @property
    def answered(self) -> bool:
        return self.status is not None or self.not_sent

    def __repr__(self) -> str:
        said = "not sent" if self.not_sent else self.status or "no answer"
        done = "" if self.effect_at is None else f", done at {self.effect_at:%H:%M:%S}"
        return f"<{self.reference} at {self.at:%H:%M:%S.%f} by {self.origin.rpartition('-')[2]}: {said}{done}>"


@dataclass
class Counterparty:
    """`POST /orders` has an effect, `GET /orders?reference=` tells of it."""

    clock: VirtualClock
    #: How long the same key again has no second effect; None where it takes no keys.
    key_window: timedelta | None
    seed: int = 0
    #: Shares of the orders.
    mishaps: Mapping[Mishap, float] = field(default_factory=dict)
    #: Share of the references that are refused, always.
    refused: float = 0.0
    latency: timedelta = timedelta(milliseconds=50)
    late_by: timedelta = timedelta(seconds=40)
    slow_by: timedelta = timedelta(seconds=30)
    on: bool = True
    orders: list[Ordered] = field(default_factory=list)
    #: When something was done, by reference: as often as it was.
    effects: dict[str, list[datetime]] = field(default_factory=dict)
    counts: Counter[Mishap] = field(default_factory=Counter)
    #: The most orders at once, and those under way by origin.
    peak: int = 0
    questions: int = 0
    _under_way: int = 0
    _numbers: Counter[str] = field(default_factory=Counter)
    _answers: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)

    async def send(self, request: Request, origin: str = "") -> Response:
        """The answer. Raises NotSent, Unanswered, or Crash where the caller dies of it."""
        if request.method == "GET":
            return await self._asked(parse_qs(urlsplit(request.path).query)["reference"][0])
        fields = json.loads(request.body or b"")
        key = request.headers.get(IDEMPOTENCY_HEADER, "")
        order = Ordered(fields["reference"], key, fields["run"], self.clock.now(), origin)
        self.orders.append(order)
        self._under_way += 1
        self.peak = max(self.peak, self._under_way)
        try:
            return await self._ordered(order)
        finally:
            order.ended = self.clock.now()
            self._under_way -= 1

    def refuses(self, reference: str) -> bool:
        return self._draw("refused", reference, 0) < self.refused

    async def _ordered(self, order: Ordered) -> Response:
        reference = order.reference
        self._numbers[reference] += 1
        mishap = self._mishap(reference, self._numbers[reference])
        match mishap:
            case Mishap.NOT_SENT:
                order.not_sent = True
                raise NotSent("connection refused")
            case Mishap.BUSY:
                return await self._answer(order, 429, {"retry-after": str(BUSY_SECONDS)})
            case Mishap.UNAVAILABLE:
                return await self._answer(order, 503)
            case Mishap.LOCKED_OUT:
                return await self._answer(order, 401)
            case Mishap.TRY_LATER:
                return await self._answer(order, TRY_LATER)
            case Mishap.REQUEST_LOST:
                raise Unanswered("the connection was closed")
            case Mishap.POISON_BEFORE:
                raise Crash(f"of {reference}")
        at = self.clock.now() + (self.late_by if mishap is Mishap.LATE else timedelta(0))
        status = self._take(order, at)
        match mishap:
            case Mishap.BROKEN:
                return await self._answer(order, 500)
            case Mishap.STRANGE:
                return await self._answer(order, STRANGE)
            case Mishap.ANSWER_LOST | Mishap.LATE:
                await asyncio.sleep(self.latency.total_seconds())
                raise Unanswered("the connection was closed")
            case Mishap.POISON_AFTER:
                raise Crash(f"of {reference}")
            case Mishap.SLOW:
                await asyncio.sleep(self.slow_by.total_seconds())
        return await self._answer(order, status)

    def _take(self, order: Ordered, at: datetime) -> int:
        """Do what is ordered at `at`, unless it is refused or known already; returns the status of the answer."""
        key, now = order.idempotency_key, self.clock.now()
        if self.key_window is not None and key in self._answers and now < self._answers[key][0] + self.key_window:
            return 409 if now < self._answers[key][1] else (422 if self.refuses(order.reference) else 201)
        self._answers[key] = now, at
        if self.refuses(order.reference):
            return 422
        self.effects.setdefault(order.reference, []).append(at)
        order.effect_at = at
        return 201

    async def _answer(self, order: Ordered, status: int, headers: Mapping[str, str] | None = None) -> Response:
        await asyncio.sleep(self.latency.total_seconds())
        order.status = status
        return Response(status, headers or {}, b"{}")

    async def _asked(self, reference: str) -> Response:
        self.questions += 1
        await asyncio.sleep(self.latency.total_seconds())
        if self.on and self._draw("question", reference, self.questions) < self.mishaps.get(Mishap.UNAVAILABLE, 0.0):
            return Response(503, {}, b"{}")
        done = any(at <= self.clock.now() for at in self.effects.get(reference, []))
        refused = self._numbers[reference] > 0 and self.refuses(reference)
        return Response(200, {}, json.dumps({"done": done, "refused": refused}).encode())

    def _mishap(self, reference: str, number: int) -> Mishap | None:
        if not self.on:
            return None
        for mishap, share in self.mishaps.items():
            if self._draw(mishap, reference, number) < share:
                self.counts[mishap] += 1
                return mishap
        return None

    def _draw(self, what: str, reference: str, number: int) -> float:
        digest = sha256(f"{self.seed} {what} {reference} {number}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / _DRAWS
