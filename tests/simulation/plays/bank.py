"""A bank in virtual time: moves money, loses answers, books late, remembers keys or takes none."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

from rollcall.core.call import IDEMPOTENCY_HEADER, Request, Response
from rollcall.core.errors import Unanswered
from tests.simulation.models.virtual_time import VirtualClock

_DRAWS = 2**64


@dataclass
class SimulatedBank:
    """`POST /transfers` moves money, `GET /transfers?reference=` tells what is booked."""

    clock: VirtualClock
    #: Whether the same key again moves nothing, and for how long.
    keys: bool = True
    key_window: timedelta = timedelta(hours=24)
    latency: timedelta = timedelta(milliseconds=50)
    #: Shares of the calls: money moves and the answer is lost; money moves `late_by` later and there is no answer.
    lost: float = 0.0
    late: float = 0.0
    late_by: timedelta = timedelta(minutes=2)
    #: Share of the transfers that are refused.
    refused: float = 0.0
    #: When money moved, by reference: as often as it did.
    movements: dict[str, list[datetime]] = field(default_factory=dict)
    #: How often each transfer was ordered, and how often asked about.
    orders: Counter[str] = field(default_factory=Counter)
    questions: Counter[str] = field(default_factory=Counter)
    _answers: dict[str, tuple[datetime, Response]] = field(default_factory=dict)

    async def send(self, request: Request, origin: str = "") -> Response:
        """The answer. Raises Unanswered where it is lost."""
        del origin
        if request.method == "GET":
            answer: Response | None = self._found(parse_qs(urlsplit(request.path).query)["reference"][0])
        else:
            answer = self._ordered(json.loads(request.body or b"")["reference"], request)
        await asyncio.sleep(self.latency.total_seconds())
        if answer is None:
            raise Unanswered("the bank closed the connection without an answer")
        return answer

    def moved_twice(self) -> list[str]:
        return [reference for reference, times in self.movements.items() if len(times) > 1]

    def _found(self, reference: str) -> Response:
        self.questions[reference] += 1
        now = self.clock.now()
        booked = [reference for at in self.movements.get(reference, []) if at <= now]
        refused = self.orders[reference] > 0 and self._draw("refused", reference, 0) < self.refused
        return Response(200, {}, json.dumps({"booked": len(booked), "refused": refused}).encode())

    def _ordered(self, reference: str, request: Request) -> Response | None:
        self.orders[reference] += 1
        number, now = self.orders[reference], self.clock.now()
        key = request.headers.get(IDEMPOTENCY_HEADER, "")
        if self.keys and key in self._answers and now - self._answers[key][0] < self.key_window:
            known_at, answer = self._answers[key]
            return Response(409, {}, b"in progress") if now < known_at else answer
        if self._draw("refused", reference, 0) < self.refused:
            answer = Response(422, {}, b"insufficient funds")
            self._answers[key] = now, answer
            return answer
        late = self._draw("late", reference, number) < self.late
        moves_at = now + self.late_by if late else now
        self.movements.setdefault(reference, []).append(moves_at)
        answer = Response(201, {}, b"booked")
        self._answers[key] = moves_at, answer
        return None if late or self._draw("lost", reference, number) < self.lost else answer

    @staticmethod
    def _draw(fault: str, reference: str, number: int) -> float:
        digest = sha256(f"{fault} {reference} {number}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / _DRAWS
