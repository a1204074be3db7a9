"""The system that a job calls back: slow, sometimes failing, and counting what it is asked."""

import asyncio
import time
from collections import Counter
from typing import Any

from tools.stand_ins.authorization import Guard
from tools.stand_ins.connection import Connection
from tools.stand_ins.faults import entry_of, fault, identity
from tools.stand_ins.http import Request, Response, answer
from tools.stand_ins.options import Options

_OK = answer(200, {"status": "ok"})
_FAULT = answer(503, {"error": "injected fault"})


class Target:
    def __init__(self, options: Options) -> None:
        self._guard = Guard(options.target_secret)
        self._latency = options.latency_ms / 1000
        self._seed = options.seed
        self._error_rate = options.error_rate
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Forgets all calls, and with them which call of an entry is the next one."""
        self._calls_of: dict[str, int] = {}
        self._injected = 0
        self._unauthorized = 0
        self._in_flight_max = self._in_flight
        self._first_call: float | None = None
        self._last_call: float | None = None

    def stats(self) -> dict[str, Any]:
        """What was counted since the start or the last reset; the times are those of `time.monotonic()`."""
        per_entry = Counter(self._calls_of.values())
        return {
            "calls": sum(times * entries for times, entries in per_entry.items()),
            "injected": self._injected,
            "unauthorized": self._unauthorized,
            "calls_per_entry": dict(sorted(per_entry.items())),
            "in_flight": self._in_flight,
            "in_flight_max": self._in_flight_max,
            "first_call": self._first_call,
            "last_call": self._last_call,
        }

    def serve(self, request: Request, connection: Connection) -> None:
        self._in_flight += 1
        self._in_flight_max = max(self._in_flight, self._in_flight_max)
        asyncio.get_running_loop().call_later(self._latency, self._answer, connection, self._judge(request))

    def _answer(self, connection: Connection, response: Response) -> None:
        self._in_flight -= 1
        connection.answer(response)

    def _judge(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        who = identity(request.method, request.path, request.body) if key is None else entry_of(key)
        n = self._count(key or who)
        refusal = self._guard.refusal(request)
        if refusal is not None:
            self._unauthorized += 1
            return refusal
        if fault(self._seed, who, n, self._error_rate):
            self._injected += 1
            return _FAULT
        return _OK

    def _count(self, entry: str) -> int:
        self._last_call = time.monotonic()
        if self._first_call is None:
            self._first_call = self._last_call
        n = self._calls_of[entry] = self._calls_of.get(entry, 0) + 1
        return n
