"""The one operation of Lambda that the functions call: Invoke, on loopback.

An asynchronous invocation that fails is tried twice more, after one and two minutes
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html).
"""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from tools.local_cloud.functions import Function, FunctionError

RETRY_SECONDS = (60.0, 120.0)
NOT_FOUND = 404


class LambdaApi:
    """Serves Invoke for `functions`, which may grow."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = functions
        self._timers: set[threading.Timer] = set()
        self._stopped = False
        #: What asynchronous invocations failed with.
        self.failures: list[str] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                event = json.loads(body or b"null")
                status, answer = api._answer(self.path, self.headers.get("X-Amz-Invocation-Type", ""), event)
                self.send_response(status)
                if status == NOT_FOUND:
                    self.send_header("X-Amzn-ErrorType", "ResourceNotFoundException")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True, name="lambda-api").start()

    def _answer(self, path: str, kind: str, event: object) -> tuple[int, bytes]:
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
