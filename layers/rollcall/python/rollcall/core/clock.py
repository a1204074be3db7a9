"""Time as an argument: what waits or reads the time is handed a clock."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The system's clock in production and locally, a virtual one in tests."""

    def now(self) -> datetime:
        """This instant, aware, in UTC."""
        ...

    def sleep(self, duration: timedelta) -> None:
        """Let `duration` pass."""
        ...

    async def wait(self, duration: timedelta) -> None:
        """Let `duration` pass while other tasks go on."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, duration: timedelta) -> None:
        time.sleep(max(0.0, duration.total_seconds()))

    async def wait(self, duration: timedelta) -> None:
        await asyncio.sleep(max(0.0, duration.total_seconds()))
