"""The time that the stand-ins go by, in one place, so that a test can let it pass."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that never go back: those of `time.monotonic()`."""

    def now(self) -> float:
        """Seconds since 1970, which mean the same to the next process."""

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls back once, so many seconds from now."""


class LoopClock:
    """The time of the running event loop. `now` never goes back either, whatever is done to the machine's clock."""

    def __init__(self) -> None:
        self._began = time.time() - time.monotonic()

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        return self._began + time.monotonic()

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, callback)
