"""Virtual time: an event loop that jumps to the next timer instead of waiting, and the clock that reads it."""

import asyncio
import selectors
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.simulation.models import fibers

#: When simulations begin, unless they say otherwise.
START = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)


class NothingToWaitFor(Exception):
    """Every task waits for another one: no timer is set, nothing is ready, and nothing ever will be."""


class _Jumping(selectors.BaseSelector):
    """Hands waits to the loop as jumps in time. The descriptors are the loop's own wake-up calls."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingToWaitFor("no timer is set and no task is ready")
        if timeout > 0:
            self._loop.advance(timeout)
        return []

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only by its timers, and by `advance`.

    Its tasks may block (`fibers`). They must not wait for other threads, which have no part in virtual time.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        super().__init__(_Jumping(self))
        self.set_task_factory(fibers.task_factory)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Let time pass with nothing happening meanwhile."""
        self._seconds += seconds


class VirtualClock:
    """The time of a virtual loop, as the engine reads it (`rollcall.core.clock.Clock`)."""

    def __init__(self, loop: VirtualLoop, start: datetime = START) -> None:
        self._loop = loop
        self._start = start
        self._epoch = start.timestamp()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time())

    def timestamp(self) -> float:
        """Seconds since 1970, as the services' clocks read it."""
        return self._epoch + self._loop.time()

    def sleep(self, duration: timedelta) -> None:
        """Blocks whoever calls it, as the real one does; other tasks go on."""
        seconds = max(0.0, duration.total_seconds())
        if fibers.may_block():
            fibers.pause(seconds)
        else:
            self._loop.advance(seconds)

    async def wait(self, duration: timedelta) -> None:
        """Everything else goes on meanwhile."""
        await asyncio.sleep(max(0.0, duration.total_seconds()))


class SkewedClock:
    """The clock of a machine that goes wrong by `skew`."""

    def __init__(self, clock: VirtualClock, skew: timedelta) -> None:
        self._clock = clock
        self._skew = skew

    def now(self) -> datetime:
        return self._clock.now() + self._skew

    def sleep(self, duration: timedelta) -> None:
        self._clock.sleep(duration)

    async def wait(self, duration: timedelta) -> None:
        await self._clock.wait(duration)
