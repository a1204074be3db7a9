"""The process that execution environments are forked from, as its parent sees it."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.local_cloud.isolation import isolated
from tools.local_cloud.logs import private_file
from tools.local_cloud.ministack import CHECKOUT
from tools.loopback import PRIVATE_UMASK, Keys


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended, and what it had used."""

    cpu_seconds: float
    #: As `getrusage` tells it: KB, and bytes on macOS.
    peak_memory: int


class ForkServer:
    """Forks processes, which are its children: only it may wait for them. Safe between threads.

    Started with the first process. Whatever it cannot do is an OSError.
    """

    def __init__(self, log: Path, import_path: list[str], keys: Keys) -> None:
        """`keys` are the AWS credentials of the processes."""
        self._log = log
        self._keys = keys
        self._import_path = import_path
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control, self._theirs = socket.socketpair()
        self._answers = self._control.makefile("rb")

    def _start(self) -> subprocess.Popen[bytes]:
        environ = isolated(os.environ) | self._keys.environ() | {"PYTHONPATH": os.pathsep.join(self._import_path)}
        with private_file(self._log, append=True) as output, self._theirs as theirs:
            return subprocess.Popen(
                # -P: else the working directory would stand before import_path.
                [sys.executable, "-P", "-m", "tools.local_cloud.environment", str(theirs.fileno())],
                env=environ,
                cwd=CHECKOUT,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                umask=PRIVATE_UMASK,
                start_new_session=True,
            )

    def fork(self, handler: str, variables: Mapping[str, str], log: Path, channel: socket.socket) -> int:
        """The id of a new process that serves `handler` on `channel`; nobody else has its id until it is reaped."""
        request = {"fork": handler, "variables": dict(variables), "log": str(log.absolute())}
        return int(self._ask(request, channel)["pid"])

    def reap(self, pid: int) -> Ended:
        """Wait for its end, and give its id back."""
        answer = self._ask({"reap": pid})
        return Ended(answer["cpu_seconds"], answer["peak_memory"])

    def _ask(self, request: Mapping[str, Any], channel: socket.socket | None = None) -> dict[str, Any]:
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            self._process = self._process or self._start()
            try:
                sent = socket.send_fds(self._control, [line], [] if channel is None else [channel.fileno()])
                self._control.sendall(line[sent:])
                answer = self._answers.readline()
            except ConnectionError:
                answer = b""
            except BaseException:
                # Interrupted: whoever came next would read this answer.
                self._control.shutdown(socket.SHUT_RDWR)
                raise
        if not answer:
            raise OSError(f"the process that functions are forked from has ended; see {self._log}")
        found: dict[str, Any] = json.loads(answer)
        if "error" in found:
            raise OSError(found["error"])
        return found

    def stop(self) -> None:
        """End it, and with it what it forked and nobody stopped; callable twice."""
        with self._lock, contextlib.suppress(OSError):
            self._answers.close()
            self._control.close()
            self._theirs.close()
            if self._process is not None:
                self._process.communicate()
