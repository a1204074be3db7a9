"""Execution environments of functions, as processes: `python -m tools.local_cloud.environment FD`.

Imports once what all functions import, and forks an environment for each request on the socket FD: a process takes a
third of a second of computing to import it. Requests and answers are lines of JSON:

    {"fork": HANDLER, "variables": {…}, "log": PATH}, and the environment's end of a channel  ->  {"pid": 7}
    {"reap": PID}  ->  {"cpu_seconds": 0.3, "peak_memory": 70000}, once it has ended
    either         ->  {"error": "…"}, where the system refuses it

An environment takes invocations as lines of JSON from its channel and answers each with one line, as Lambda's runtime
does: one at a time, the handler imported once, an exception answered as errorType and errorMessage. The first line says
that the handler is imported, or with which exception that failed. It ends when standard input does, in the middle of an
invocation too, so it never outlives who started it.
"""

import contextlib
import importlib
import json
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any, NoReturn

import botocore.handlers

from tools.local_cloud.counting import Requests
from tools.local_cloud.logs import PRIVATE_FILE

#: Imports whatever handlers do, and reads nothing of what differs between them.
COMMON = "functions._calling"
_MOST_BYTES = 65_536


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
    with contextlib.suppress(Exception, SystemExit):  # a handler fails with the same, and its environment tells
        importlib.import_module(COMMON)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        while (received := _receive(control)) is not None:
            request, channel = received
            try:
                answer = _answer_to(request, channel, control)
            except OSError as error:
                answer = {"error": str(error)}
            finally:
                if channel is not None:
                    os.close(channel)
            control.sendall(json.dumps(answer).encode() + b"\n")


def _receive(control: socket.socket) -> tuple[dict[str, Any], int | None] | None:
    """The next request, and the descriptor that came with it; None where there will be none."""
    line, channels = b"", list[int]()
    while not line.endswith(b"\n"):
        some, found, *_ = socket.recv_fds(control, _MOST_BYTES, 1)
        if not some:
            return None
        line, channels = line + some, channels + found
    return json.loads(line), channels[0] if channels else None


def _answer_to(request: Mapping[str, Any], channel: int | None, control: socket.socket) -> dict[str, object]:
    if "reap" in request:
        _, _, used = os.wait4(request["reap"], 0)
        return {"cpu_seconds": used.ru_utime + used.ru_stime, "peak_memory": used.ru_maxrss}
    process = os.fork()
    if not process and channel is not None:
        control.close()
        _be_environment(channel, request)
    return {"pid": process}


def _be_environment(channel: int, request: Mapping[str, Any]) -> NoReturn:
    try:
        os.setsid()
        os.set_inheritable(channel, False)
        log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.environ.update(request["variables"])
        threading.Thread(target=_end_with_parent, daemon=True).start()
        _serve(channel, request["fork"])
    except BaseException as error:
        traceback.print_exception(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _serve(fd: int, path: str) -> None:
    requests = Requests()
    botocore.handlers.BUILTIN_HANDLERS.extend(requests.handlers())
    with socket.socket(fileno=fd) as channel, channel.makefile("rwb") as lines:
        try:
            handler = _load(path)
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
