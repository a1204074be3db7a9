"""The stand-ins without sockets and without waiting: bytes in, bytes out, and a time that passes when it is told to."""

import asyncio
import heapq
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from tools.stand_ins.connection import Connection
from tools.stand_ins.options import Options
from tools.stand_ins.server import StandIns


class VirtualClock:
    """Begins at an hour of its own; `now` is far from `monotonic`, so that nobody mistakes one for the other."""

    def __init__(self, began: float = 1_800_000_000) -> None:
        self._began = began
        self._passed = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def monotonic(self) -> float:
        return 1_000 + self._passed

    def now(self) -> float:
        return self._began + self._passed

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self._passed + seconds, next(self._number), callback))

    def advance(self, seconds: float) -> None:
        """Lets time pass, and what falls due on the way happen at its time."""
        until = self._passed + seconds
        while self._due and self._due[0][0] <= until:
            self._passed, _, callback = heapq.heappop(self._due)
            callback()
        self._passed = until


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closed
        self.sent += bytes(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def resume_reading(self) -> None:
        pass


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


class Call:
    """One call, on a connection of its own."""

    def __init__(self, serve: Callable[..., None], request: bytes) -> None:
        self._transport = _Transport()
        self._connection = Connection(serve)
        self._connection.connection_made(self._transport)
        self._connection.data_received(request)

    @property
    def answer(self) -> Answer | None:
        """What came until now."""
        if not self._transport.sent:
            return None
        head, _, body = self._transport.sent.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        assert int(headers["Content-Length"]) == len(body)
        return Answer(int(first.split(" ")[1]), headers, json.loads(body))

    @property
    def was_hung_up_on(self) -> bool:
        """Whether the connection was closed and nothing had come."""
        return self._transport.is_closed and not self._transport.sent

    @property
    def is_waiting(self) -> bool:
        return not self._transport.is_closed and not self._transport.sent

    def hang_up(self) -> None:
        """The caller goes away."""
        self._transport.close()
        self._connection.connection_lost(None)


class InProcess:
    """The stand-ins with options as a parent process would write them, and their callers."""

    def __init__(self, clock: VirtualClock | None = None, **options: object) -> None:
        self.clock = VirtualClock() if clock is None else clock
        line = json.dumps({"latency_ms": 50} | options)
        self._stand_ins = StandIns(Options.from_line(line), self.clock)

    def close(self) -> None:
        self._stand_ins.close()

    def begin(self, method: str, path: str, body: bytes = b"", **headers: str) -> Call:
        """Sends a request; no time passes."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method} {path} HTTP/1.1", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in sent.items())]
        return Call(self._stand_ins.serve, "\r\n".join([*lines, "", ""]).encode() + body)

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Call:
        """Sends a request and waits for the latency of 50 ms."""
        call = self.begin(method, path, body, **headers)
        self.clock.advance(0.05)
        return call

    def stats(self) -> dict[str, Any]:
        answer = self.begin("GET", "/-/stats").answer
        assert answer is not None
        stats: dict[str, Any] = answer.body
        return stats

    def order(self, name: str, **body: object) -> int:
        """`POST /-/<name>`."""
        answer = self.begin("POST", f"/-/{name}", json.dumps(body).encode()).answer
        assert answer is not None
        return answer.status
