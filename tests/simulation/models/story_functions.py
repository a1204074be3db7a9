"""Functions for stories of state machines: known to the model, and to MiniStack as a Lambda API on loopback."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

ARN = "arn:aws:lambda:eu-west-1:000000000000:function:"
_times: Counter[str] = Counter()
_lock = Lock()
#: Set when `waits` may answer.
let_go = Event()
#: What `keeps_token` got last, by story.
tokens: dict[str, str] = {}


class FunctionFailed(Exception):
    """The function raised."""


def call(name: str, payload: dict[str, Any]) -> dict[str, Any]:
    """What a function answers: `echo` its payload; `settles` what a batch function does; `waits` nothing for long;
    `keeps_token` for whoever answers it;
    `fails` never; `recovers` once it failed as often as it is told.
    """
    story = payload.get("story", payload.get("run", ""))
    with _lock:
        _times[story] += 1
        number = _times[story]
    if name == "waits":
        let_go.wait()
    if name == "keeps_token":
        tokens[story] = payload["token"]
    if name == "settles":
        return {"again": False, "wait_seconds": 1}
    if name == "fails" or (name == "recovers" and number <= payload["failures"]):
        raise FunctionFailed(f"call {number}")
    return {"payload": payload, "call": number}


def calls(story: str) -> int:
    """How often functions were called in that story."""
    return _times[story]


class _Api(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            answer = call(self.path.split("/")[3], payload)
        except FunctionFailed as error:
            answer = {"errorType": "FunctionFailed", "errorMessage": str(error)}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served_functions() -> Iterator[str]:
    """Serve them; the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Api) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
