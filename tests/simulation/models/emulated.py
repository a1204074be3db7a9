"""MiniStack for stories: the process that the local cloud runs, with a clock that stories move."""

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.config import Config

from rollcall.adapters.clients import CONFIG
from tools.local_cloud.address import session
from tools.local_cloud.ministack import RUN_SERVICES, MiniStack

_SECONDS = struct.Struct("d")

#: MiniStack asks `time.time` for the time of everything that it says or keeps. Its waits go by another clock; those of
#: its state machines take no time.
_PRELUDE = """
import mmap, os, struct, time
os.environ["SFN_WAIT_SCALE"] = "0"
time.time = lambda clock=mmap.mmap(os.open({path!r}, os.O_RDONLY), {size}, access=mmap.ACCESS_READ): (
    struct.unpack("d", clock[:])[0]
)
"""


class MovedMiniStack:
    """A running MiniStack, which believes the time that it is told."""

    def __init__(self, process: MiniStack, clock: mmap.mmap) -> None:
        self._clock = clock
        self._process = process
        self._session = session(process.keys)

    def tell(self, seconds: float) -> None:
        """The time, in seconds since 1970; the next request is served at it."""
        self._clock[:] = _SECONDS.pack(seconds)

    def client(self, service: str) -> Any:
        config = CONFIG.merge(Config(proxies={}))
        return self._session.client(service, config=config, endpoint_url=self._process.endpoint)  # type: ignore[call-overload]


@contextmanager
def moved_ministack(folder: Path, functions: str | None = None) -> Iterator[MovedMiniStack]:
    """Start it with its data in `folder`; it ends with the context, and with this process.

    `functions` is where its state machines invoke functions.
    """
    path = folder / "clock"
    path.write_bytes(_SECONDS.pack(0))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), _SECONDS.size) as clock:
        prelude = _PRELUDE.format(path=str(path), size=_SECONDS.size)
        process = MiniStack(folder, services=RUN_SERVICES | {"lambda"}, prelude=prelude, functions=functions)
        try:
            yield MovedMiniStack(process, clock)
        finally:
            process.stop()
