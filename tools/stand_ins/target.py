"""The system that a job calls back: slow, sometimes failing, and counting what it is asked."""

from collections import Counter
from functools import partial
from typing import Any

from tools.stand_ins.clock import Clock
from tools.stand_ins.connection import Connection
from tools.stand_ins.faults import entry_of, fault, identity
from tools.stand_ins.gate import Gate
from tools.stand_ins.http import Request, Response, answer
from tools.stand_ins.options import Options

_OK = answer(200, {"status": "ok"})
_FAULT = answer(503, {"error": "injected fault"})


class Target:
    def __init__(self, options: Options, clock: Clock) -> None:
        self._clock = clock
        self._latency = options.latency_ms / 1000
        self._seed = options.seed
        self._error_rate = options.error_rate
        self._in_flight = 0
        self.gate = Gate(options, clock, outage_from_call=options.outage_after_calls, outage_s=options.outage_s)
        self.reset()

    def reset(self) -> None:
        """Forgets all calls, and with them which call of an entry is the next one."""
        self.gate.reset()
        self._calls_of: dict[str, int] = {}
        self._turned_away_of: Counter[str] = Counter()
        self._injected = 0
        self._in_flight_max = self._in_flight

    def stats(self) -> dict[str, Any]:
        """What was counted since the start or the last reset; the times are those of `time.monotonic()`.

        `calls` and `calls_per_entry` count the calls that were turned away, too.
        """
        per_entry = Counter(self._calls_of.values())
        return {
            "calls": sum(times * entries for times, entries in per_entry.items()),
            "injected": self._injected,
            "calls_per_entry": dict(sorted(per_entry.items())),
            "in_flight": self._in_flight,
            "in_flight_max": self._in_flight_max,
        } | self.gate.stats()

    def serve(self, request: Request, connection: Connection) -> None:
        self._in_flight += 1
        self._in_flight_max = max(self._in_flight, self._in_flight_max)
        self._clock.later(self._latency, partial(self._answer, connection, self._judge(request)))

    def _answer(self, connection: Connection, response: Response) -> None:
        self._in_flight -= 1
        connection.answer(response)

    def _judge(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        who = identity(request.method, request.path, request.body) if key is None else entry_of(key)
        entry = key or who
        calls = self._calls_of[entry] = self._calls_of.get(entry, 0) + 1
        refusal = self.gate.refusal(request)
        if refusal is not None:
            self._turned_away_of[entry] += 1
            return refusal
        if fault(self._seed, who, calls - self._turned_away_of[entry], self._error_rate):
            self._injected += 1
            return _FAULT
        return _OK
