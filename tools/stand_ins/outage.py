"""When nothing works."""


class Outage:
    """Down for `seconds` from call number `from_call` on, once; and whenever it is told to be."""

    def __init__(self, from_call: int | None, seconds: float) -> None:
        self._from_call = from_call
        self._seconds = seconds
        self._until = float("-inf")

    def begin(self, now: float, seconds: float) -> None:
        """Down from now on for so many seconds, in place of what was left of an outage; 0 ends it."""
        self._until = now + seconds

    def is_down(self, now: float, calls: int) -> bool:
        """Whether it is down when the latest of so many calls (from 1) has just come."""
        if self._from_call is not None and calls >= self._from_call:
            self._from_call = None
            self.begin(now, self._seconds)
        return now < self._until
