"""One execution environment of a function, as a process: `python -m tools.local_cloud.environment FD HANDLER`.

Takes invocations as lines of JSON from the socket FD and answers each with one line, as Lambda's runtime does:
one at a time, the handler imported once, an exception answered as errorType and errorMessage. The first line says
that the handler is imported, or with which exception that failed. Ends when standard input does, in the middle of
an invocation too, so it never outlives who started it.
"""

import importlib
import json
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any

import botocore.handlers

from tools.local_cloud.counting import Requests


@dataclass(frozen=True, slots=True)
class Context:
    """What the handlers use of Lambda's context object."""

    aws_request_id: str
    #: On the monotonic clock.
    deadline: float

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.monotonic()) * 1000))


def main() -> None:
    """Serve until the parent closes the socket."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    requests = Requests()
    botocore.handlers.BUILTIN_HANDLERS.extend(requests.handlers())
    with socket.socket(fileno=int(sys.argv[1])) as channel, channel.makefile("rwb") as lines:
        try:
            handler = _load(sys.argv[2])
        except (Exception, SystemExit) as error:
            _answer(lines, _failure(error))
            return
        _answer(lines, {})
        for line in lines:
            answer = _invoke(handler, json.loads(line))
            _answer(lines, answer | {"requests": requests.take()})


def _answer(lines: BufferedIOBase, answer: dict[str, Any]) -> None:
    lines.write(json.dumps(answer).encode() + b"\n")
    lines.flush()


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def _load(path: str) -> Callable[[Any, Context], Any]:
    module, _, name = path.rpartition(".")
    found: Callable[[Any, Context], Any] = getattr(importlib.import_module(module), name)
    return found


def _invoke(handler: Callable[[Any, Context], Any], invocation: dict[str, Any]) -> dict[str, Any]:
    context = Context(invocation["request_id"], time.monotonic() + invocation["timeout_seconds"])
    try:
        return {"result": json.loads(json.dumps(handler(invocation["event"], context)))}
    except Exception as error:
        return _failure(error)


def _failure(error: BaseException) -> dict[str, Any]:
    traceback.print_exception(error)
    return {"error": {"errorType": type(error).__name__, "errorMessage": str(error)}}


if __name__ == "__main__":
    main()
