"""When calls came."""

from collections import deque
from typing import Any


class Arrivals:
    """Times are seconds that never go back. Remembers one second of them, whatever the number of calls."""

    def __init__(self) -> None:
        self.count = 0
        self._busiest = 0
        self._first: float | None = None
        self._last: float | None = None
        self._latest: deque[float] = deque()

    def note(self, now: float) -> None:
        """A call came."""
        self.count += 1
        self._last = now
        if self._first is None:
            self._first = now
        self._latest.append(now)
        while self._latest[0] <= now - 1:
            self._latest.popleft()
        self._busiest = max(self._busiest, len(self._latest))

    def stats(self) -> dict[str, Any]:
        """`busiest_second` is the most calls of any second, wherever it begins; two calls a second apart share none."""
        return {"busiest_second": self._busiest, "first_call": self._first, "last_call": self._last}
