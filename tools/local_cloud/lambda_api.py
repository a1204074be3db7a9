"""The one operation of Lambda that the functions call: Invoke, on loopback, for clients with this run's key.

An asynchronous invocation that fails is tried twice more, after one and two minutes
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html).
"""

import json
import threading
from collections.abc import Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from tools.local_cloud.functions import Function, FunctionError
from tools.loopback import ADDRESS, Keys, authority, is_local, signs

RETRY_SECONDS = (60.0, 120.0)
BAD_REQUEST = 400
FORBIDDEN = 403
NOT_FOUND = 404
#: Seconds between two looks at whether it is to stop: the end of every local run waits for one.
STOP_SECONDS = 0.05
#: Bytes of an event (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
LARGEST_EVENT = 6 * 1024 * 1024


_ERROR_TYPES = {
    BAD_REQUEST: "InvalidRequestContentException",
    FORBIDDEN: "AccessDeniedException",
    NOT_FOUND: "ResourceNotFoundException",
}
_REFUSAL = json.dumps({"Message": "this port belongs to a run of rollcall"}).encode()


class _QuietServer(ThreadingHTTPServer):
    """Prints nothing about a connection that breaks off: any stranger could fill the terminal."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Leave the error to the client, which sees its connection end."""


class LambdaApi:
    """Serves Invoke for `functions`, which may grow, to clients that have `keys`."""

    def __init__(self, functions: Mapping[str, Function], keys: Keys) -> None:
        self._functions = functions
        self._keys = keys
        self._timers: set[threading.Timer] = set()
        self._stopped = False
        #: What asynchronous invocations failed with.
        self.failures: list[str] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                if api._admits(self.headers):
                    body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                    status, answer = api._answer(self.path, self.headers.get("X-Amz-Invocation-Type", ""), body)
                else:
                    status, answer = FORBIDDEN, _REFUSAL
                self.send_response(status)
                if status in _ERROR_TYPES:
                    self.send_header("X-Amzn-ErrorType", _ERROR_TYPES[status])
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        self._server = _QuietServer((ADDRESS, 0), Handler)
        self._host = authority(self._server.server_address[1])
        self.endpoint = f"http://{self._host}"
        threading.Thread(
            target=self._server.serve_forever, args=(STOP_SECONDS,), daemon=True, name="lambda-api"
        ).start()

    def _admits(self, headers: Message) -> bool:
        """Whether a request proves that it belongs to the run, and is no larger than an event."""
        found = {name.lower(): value for name, value in headers.items()}
        length = found.get("content-length", "0")
        return (
            len(headers.get_all("Host", [])) == 1
            and is_local(found, self._host)
            and signs(found.get("authorization", ""), self._keys.access_key_id)
            and length.isdecimal()
            and int(length) <= LARGEST_EVENT
        )

    def _answer(self, path: str, kind: str, body: bytes) -> tuple[int, bytes]:
        try:
            event = json.loads(body or b"null")
        except ValueError:
            return BAD_REQUEST, json.dumps({"Type": "User", "Message": "the event is not JSON"}).encode()
        name = unquote(path).removeprefix("/2015-03-31/functions/").removesuffix("/invocations")
        function = self._functions.get(name)
        if function is None:
            return NOT_FOUND, json.dumps({"Type": "User", "Message": f"Function not found: {name}"}).encode()
        if kind == "Event":
            self.invoke_later(function, event)
            return 202, b""
        try:
            return 200, json.dumps(function.invoke(event)).encode()
        except FunctionError as error:
            return 200, json.dumps({"errorMessage": str(error)}).encode()

    def invoke_later(self, function: Function, event: object, attempt: int = 0) -> None:
        """Invoke asynchronously, with Lambda's retries."""

        def run() -> None:
            try:
                function.invoke(event)
            except FunctionError as error:
                self.failures.append(f"{function.name}: {error}")
                if attempt < len(RETRY_SECONDS) and not self._stopped:
                    again = threading.Timer(RETRY_SECONDS[attempt], self.invoke_later, (function, event, attempt + 1))
                    again.daemon = True
                    self._timers.add(again)
                    again.start()

        threading.Thread(target=run, daemon=True, name=f"invoke-{function.name}").start()

    def stop(self) -> None:
        """End the server and forget what would be tried again."""
        self._stopped = True
        for timer in self._timers:
            timer.cancel()
        self._server.shutdown()
        self._server.server_close()
