"""An HTTP server on loopback that answers as a test says and remembers what it was asked."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str
    #: Lower-case names.
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The idempotency key."""
        return self.headers["idempotency-key"]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b"{}"
    #: Bytes that are promised beyond the body, and never come.
    missing: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


#: Answers to a request; None never answers it.
Answering = Callable[[Asked], Answer | None]


class Server:
    """A context manager; `answering` may be exchanged at any time."""

    def __init__(self, answering: Answering = lambda _: Answer()) -> None:
        self.answering = answering
        self.asked: list[Asked] = []
        #: Connections that were opened, also those without a request.
        self.connections = 0
        self._closing = threading.Event()
        self._server = _http_server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        # The short interval is what shutdown waits for.
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        answer = self.answering(asked)
        if answer is None:
            self._closing.wait(60)
            raise ConnectionAbortedError
        return answer

    def forget(self) -> None:
        self.asked.clear()

    def paths(self) -> Counter[str]:
        """How often each path was asked."""
        return Counter(asked.path for asked in self.asked)


def _http_server(owner: Server) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:
                self.close_connection = True

        def parse_request(self) -> bool:
            if not super().parse_request():
                return False
            setattr(self, f"do_{self.command}", self._serve)
            return True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = owner.answer(Asked(self.command, self.path, headers, body))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body) + answer.missing))
            self.end_headers()
            self.wfile.write(answer.body)
            self.wfile.flush()
            self.close_connection = self.close_connection or answer.missing > 0

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    class Listening(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def verify_request(self, *_: object) -> bool:
            owner.connections += 1
            return True

        def handle_error(self, *_: object) -> None:
            """A client that is gone is no error."""

    return Listening(("127.0.0.1", 0), Handler)
