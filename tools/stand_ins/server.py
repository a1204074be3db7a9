"""Which stand-in answers what, on a free port of 127.0.0.1."""

import asyncio
import time

from tools.stand_ins.connection import Connection
from tools.stand_ins.examples import example_of
from tools.stand_ins.http import Request, answer
from tools.stand_ins.options import Options
from tools.stand_ins.report import Report
from tools.stand_ins.target import Target

_NOT_FOUND = answer(404, {"error": "not found"})


class StandIns:
    """`/target/…`, `GET /report/<job>`, `GET /-/stats` and `POST /-/reset`. Raises OptionsError."""

    def __init__(self, options: Options) -> None:
        self._target = Target(options)
        self._reports: dict[str, Report] = {}
        if options.job_module is not None:
            name, example = example_of(options.job_module)
            self._reports[f"/report/{name}"] = Report(options, example)

    async def listen(self) -> asyncio.Server:
        """Starts listening."""
        return await asyncio.get_running_loop().create_server(
            lambda: Connection(self.serve), host="127.0.0.1", port=0, backlog=1024
        )

    def serve(self, request: Request, connection: Connection) -> None:
        if request.path.startswith("/target/"):
            self._target.serve(request, connection)
            return
        path = request.path.partition("?")[0]
        match request.method, path:
            case "GET", _ if path in self._reports:
                self._reports[path].serve(request, connection)
            case "GET", "/-/stats":
                connection.answer(answer(200, self._target.stats() | {"cpu_seconds": time.process_time()}))
            case "POST", "/-/reset":
                self._target.reset()
                connection.answer(answer(200, {"status": "ok"}))
            case _:
                connection.answer(_NOT_FOUND)
