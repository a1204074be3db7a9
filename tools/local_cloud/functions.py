"""Functions as processes: every execution environment is one, and dies alone."""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tools.local_cloud.counting import Requests
from tools.local_cloud.fork_server import ForkServer

#: Lambda gives a function's start 10 seconds
#: (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html); a loaded laptop may need more.
INIT_SECONDS = 60.0


class FunctionError(Exception):
    """The handler raised, timed out, or its process died."""


class DiedError(FunctionError):
    """The process died at work, or did not end in time: the next invocation may well succeed."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A function whose last invocations all failed."""

    function: str
    kind: str
    #: The last one's.
    error: str
    in_a_row: int
    #: Since the first one of them.
    seconds: float
    #: Whether it never answered, and not because of what it was given.
    never_worked: bool
    log: Path

    def words(self) -> str:
        """As people read it, in a line."""
        often = f" {self.in_a_row} times in a row" if self.in_a_row > 1 else ""
        return f"{self.function} failed{often}: {' '.join(self.error.split())}"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a function's processes used, the largest of their peaks and the sum of their CPU times."""

    peak_memory_mb: float = 0.0
    cpu_seconds: float = 0.0

    def __or__(self, other: "Usage") -> "Usage":
        return Usage(max(self.peak_memory_mb, other.peak_memory_mb), self.cpu_seconds + other.cpu_seconds)


class Environment:
    """One process that handles one invocation at a time."""

    def __init__(self, forks: ForkServer, handler: str, variables: Mapping[str, str], log: Path) -> None:
        ours, theirs = socket.socketpair()
        self._forks = forks
        with theirs:
            try:
                self.pid = forks.fork(handler, variables, log, theirs)
            except BaseException:
                ours.close()
                raise
        self._channel = ours
        self._lines = ours.makefile("rwb")
        self._ready = False
        #: Whether it was killed, or ended by itself: nothing may be sent to it any more.
        self.dead = False

    def invoke(self, event: object, timeout: timedelta) -> dict[str, Any]:
        """The answer of the process. Raises FunctionError if there is none in time; the process is dead then."""
        self._start()
        try:
            invocation = {
                "request_id": str(uuid.uuid4()),
                "timeout_seconds": timeout.total_seconds(),
                "event": event,
            }
            self._lines.write(json.dumps(invocation).encode() + b"\n")
            self._lines.flush()
            return self._read(timeout.total_seconds())
        except TimeoutError as error:
            self.kill()
            raise DiedError(f"Task timed out after {timeout.total_seconds():.2f} seconds") from error
        except (OSError, ValueError) as error:
            self.kill()
            raise DiedError(f"Runtime exited: {error}") from error

    def _start(self) -> None:
        """Wait until its handler is imported."""
        if self._ready:
            return
        try:
            answer = self._read(INIT_SECONDS)
        except (OSError, ValueError) as error:
            killed = self.dead
            self.kill()
            raise (DiedError if killed else FunctionError)(f"Runtime exited: {error}") from error
        if "error" in answer:
            self.kill()
            raise FunctionError(_text(answer["error"]))
        self._ready = True

    def _read(self, seconds: float) -> dict[str, Any]:
        self._channel.settimeout(seconds)
        line = self._lines.readline()
        if not line:
            raise OSError("the process ended without an answer")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def ended(self) -> bool:
        """Whether its process is no more: it says nothing unless it is asked, so what there is to read is its end."""
        looked_at = select.poll()
        looked_at.register(self._channel, select.POLLIN)
        return self.dead or bool(looked_at.poll(0))

    def kill(self) -> None:
        """As a crash of the sandbox would."""
        self.dead = True
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # only where the fork server is no more: else it is not reaped
            os.kill(self.pid, number)

    def stop(self) -> Usage:
        """End it, if it is not dead yet, and tell what it used."""
        peak = _peak_memory_mb(self.pid)
        self._send(signal.SIGKILL)
        with contextlib.suppress(OSError):  # an invocation that it did not take
            self._lines.close()
        self._channel.close()
        try:
            ended = self._forks.reap(self.pid)
        except OSError:
            return Usage(peak or 0.0)
        unit = 1024**2 if sys.platform == "darwin" else 1024
        return Usage(peak or ended.peak_memory / unit, ended.cpu_seconds)


def _text(error: Mapping[str, str]) -> str:
    return f"{error['errorType']}: {error['errorMessage']}"


def _peak_memory_mb(pid: int) -> float | None:
    """The process's own high-water mark, where /proc tells it."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        return None
    return None


class Function:
    """A deployed function: as many environments as there are invocations at once, reused."""

    def __init__(
        self,
        name: str,
        kind: str,
        variables: Mapping[str, str],
        *,
        timeout: timedelta,
        log: Path,
        requests: Requests,
        forks: ForkServer,
    ) -> None:
        self.name = name
        self.kind = kind
        self._variables = variables
        self._timeout = timeout
        self._log = log
        self._requests = requests
        self._forks = forks
        self._lock = threading.Lock()
        self._idle: list[Environment] = []
        #: Those at work, with their events.
        self._busy: dict[Environment, Any] = {}
        self._used = Usage()
        self._stopped = False
        self._worked = False
        self._failed_in_a_row = 0
        self._failing_since = 0.0
        self._error: FunctionError | None = None

    def warm(self, environments: int) -> None:
        """Start environments before they are needed, as a provisioned function would."""
        with self._lock:
            self._idle += [self._new() for _ in range(environments)]

    def _new(self) -> Environment:
        handler = f"functions.{self.kind}.handler.handler"
        return Environment(self._forks, handler, self._variables, self._log)

    def invoke(self, event: object) -> Any:
        """The handler's result. Raises FunctionError if it raised, timed out or died."""
        try:
            result = self._invoke(event)
        except FunctionError as error:
            self._count(error)
            raise
        self._count(None)
        return result

    def _count(self, error: FunctionError | None) -> None:
        with self._lock:
            if self._error is None:
                self._failing_since = time.monotonic()
            self._failed_in_a_row = 0 if error is None else self._failed_in_a_row + 1
            self._error = error
            self._worked = self._worked or error is None

    @property
    def trouble(self) -> Trouble | None:
        """What is wrong, where the last invocation failed."""
        with self._lock:
            if self._error is None:
                return None
            return Trouble(
                function=self.name,
                kind=self.kind,
                error=str(self._error),
                in_a_row=self._failed_in_a_row,
                seconds=time.monotonic() - self._failing_since,
                never_worked=not self._worked and not isinstance(self._error, DiedError),
                log=self._log,
            )

    def _invoke(self, event: object) -> Any:
        environment = self._acquire(event)
        try:
            answer = environment.invoke(event, self._timeout)
        finally:
            self._release(environment)
        self._requests.add((service, operation, count) for service, operation, count in answer["requests"])
        if "error" in answer:
            raise FunctionError(_text(answer["error"]))
        return answer["result"]

    @property
    def busy(self) -> bool:
        """Whether an invocation is under way."""
        return bool(self._busy)

    def at_work(self) -> list[Any]:
        """The events of the invocations under way."""
        with self._lock:
            return [*self._busy.values()]

    def _acquire(self, event: object) -> Environment:
        with self._lock:
            if self._stopped:
                raise FunctionError(f"{self.name} is stopped")
            try:
                environment = self._idle.pop() if self._idle else self._new()
            except OSError as error:
                raise FunctionError(f"{self.name} could not be started: {error}") from error
            self._busy[environment] = event
            return environment

    def _release(self, environment: Environment) -> None:
        with self._lock:
            self._busy.pop(environment, None)
            if not (self._stopped or environment.ended):
                self._idle.append(environment)
            else:
                self._used |= environment.stop()

    def kill_one(self) -> bool:
        """SIGKILL an environment that is at work; False if none is."""
        with self._lock:
            for environment in self._busy:
                environment.kill()
                return True
        return False

    def kill_all(self) -> list[Any]:
        """SIGKILL every environment; returns the events of those that were at work."""
        with self._lock:
            for environment in [*self._busy, *self._idle]:
                environment.kill()
            for environment in self._idle:
                self._used |= environment.stop()
            self._idle.clear()
            return [*self._busy.values()]

    def stop(self) -> Usage:
        """End all environments, those at work too."""
        with self._lock:
            self._stopped = True
            for environment in self._idle:
                self._used |= environment.stop()
            self._idle.clear()
            for environment in self._busy:
                environment.kill()
        deadline = time.monotonic() + 5
        while self._busy and time.monotonic() < deadline:
            time.sleep(0.01)
        return self._used
