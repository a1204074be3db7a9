"""How many calls come through."""

#: Seconds that sums of floats may be off by; a call exactly on time is on time.
_ROUNDING = 1e-6


class Limit:
    """`burst` calls at once and `per_s` a second in the long run (GCRA). Times are seconds that never go back."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._interval = 1 / per_s
        self._ahead = (burst - 1) * self._interval + _ROUNDING
        self._due = float("-inf")

    def take(self, now: float) -> bool:
        """Whether a call may come through now. One that may not uses nothing up."""
        due = max(self._due, now)
        if due - now > self._ahead:
            return False
        self._due = due + self._interval
        return True
