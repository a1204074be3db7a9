"""Which stand-in answers what, on a free port of 127.0.0.1."""

import asyncio
import time
from typing import NamedTuple

from tools.loopback import authority, listening
from tools.stand_ins.bank import Bank
from tools.stand_ins.clock import Clock, LoopClock
from tools.stand_ins.connection import Connection
from tools.stand_ins.door import Door
from tools.stand_ins.examples import example_of
from tools.stand_ins.gate import Gate
from tools.stand_ins.http import Request, Response, answer
from tools.stand_ins.options import Options
from tools.stand_ins.orders import CredentialsOrder, Order, OutageOrder, parse
from tools.stand_ins.report import Report
from tools.stand_ins.target import Target

_OK = answer(200, {"status": "ok"})
_BAD_ORDER = answer(400, {"error": "bad order"})
_NOT_FOUND = answer(404, {"error": "not found"})


class Listening(NamedTuple):
    """A server, and the URL that it serves under."""

    server: asyncio.Server
    base: str


class StandIns:
    """`/target/…`, `/bank/…`, `GET /report/<job>`, `/-/stats`, `/-/bank-calls`; `POST /-/reset`, `/-/outage`,
    `/-/credentials`. Raises OptionsError.
    """

    def __init__(self, options: Options, clock: Clock | None = None) -> None:
        clock = LoopClock() if clock is None else clock
        self._reports: dict[str, Report] = {}
        if options.job_module is not None:
            name, example = example_of(options.job_module)
            self._reports[f"/report/{name}"] = Report(options, example)
        self._target = Target(options, clock)
        self._bank = Bank(options, clock)

    async def listen(self) -> Listening:
        """Start listening, for clients that know the base URL."""
        listener = listening()
        door = Door(self.serve, authority(listener.getsockname()[1]))
        server = await asyncio.get_running_loop().create_server(lambda: Connection(door.serve), sock=listener)
        return Listening(server, door.base)

    def close(self) -> None:
        self._bank.close()

    def serve(self, request: Request, connection: Connection) -> None:
        if request.path.startswith("/target/"):
            self._target.serve(request, connection)
        elif request.path.startswith("/bank/"):
            self._bank.serve(request, connection)
        elif request.method == "GET" and (report := self._reports.get(_path(request))) is not None:
            report.serve(request, connection)
        else:
            connection.answer(self._answer(request))

    def _answer(self, request: Request) -> Response:
        match request.method, _path(request):
            case "GET", "/-/stats":
                own = {"bank": self._bank.stats(), "cpu_seconds": time.process_time()}
                return answer(200, self._target.stats() | own)
            case "GET", "/-/bank-calls":
                return answer(200, {"calls": [list(call) for call in self._bank.calls]})
            case "POST", "/-/reset":
                self._target.reset()
                self._bank.reset()
                return _OK
            case "POST", "/-/outage":
                return self._outage(parse(OutageOrder, request.body))
            case "POST", "/-/credentials":
                return self._credentials(parse(CredentialsOrder, request.body))
            case _:
                return _NOT_FOUND

    def _outage(self, order: OutageOrder | None) -> Response:
        if order is None:
            return _BAD_ORDER
        for gate in self._gates(order):
            gate.begin_outage(order.seconds)
        return _OK

    def _credentials(self, order: CredentialsOrder | None) -> Response:
        if order is None:
            return _BAD_ORDER
        for gate in self._gates(order):
            gate.accept_credentials()
        return _OK

    def _gates(self, order: Order) -> list[Gate]:
        gates = {"target": self._target.gate, "bank": self._bank.gate}
        return [gate for name, gate in gates.items() if order.of in (None, name)]


def _path(request: Request) -> str:
    return request.path.partition("?")[0]
