"""Finding the processes that a test started, whatever became of their parents: each carries a mark."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def environments(mark: str) -> dict[int, Mapping[str, str]]:
    """The environments of all running processes that have `mark` in theirs, by process id."""
    found: dict[int, Mapping[str, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environ = (folder / "environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in environ and int(folder.name) != os.getpid():
            pairs = [item.partition("=") for item in environ.decode(errors="replace").split("\0") if item]
            found[int(folder.name)] = {name: value for name, _, value in pairs}
    return found


def left(mark: str, seconds: float) -> dict[int, str]:
    """What still runs after at most `seconds`, by process id: nothing, if all is well. It is killed."""
    until(lambda: not environments(mark), seconds)
    found = {pid: environ.get("AWS_LAMBDA_FUNCTION_NAME", "?") for pid, environ in environments(mark).items()}
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return found


def until(condition: Callable[[], object], seconds: float, pause: float = 0.02) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(pause)
    return bool(met)
