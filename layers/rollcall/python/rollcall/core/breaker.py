"""When a target counts as down, and for how long it is left alone."""

from dataclasses import dataclass
from datetime import timedelta

from rollcall.core.errors import DeclarationError

#: A hold is at most as long, and so is a pause.
LONGEST_HOLD = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Breaker:
    """Opens after `failures` calls in a row that failed, for `pause`; then one call tries whether the target is back.

    While it is open, entries are held. Each try that fails doubles the pause, up to 15 minutes.
    """

    failures: int = 10
    pause: timedelta = timedelta(seconds=60)

    def __post_init__(self) -> None:
        if self.failures < 1 or not timedelta(seconds=1) <= self.pause <= LONGEST_HOLD:
            raise DeclarationError(
                f"Breaker(failures={self.failures}, pause={self.pause}): take 1 failure or more, and a pause of 1 s "
                f"to {LONGEST_HOLD}"
            )

    def pause_after(self, failed_tries: int) -> timedelta:
        """How long it stays open, once so many tries in a row have failed."""
        return min(self.pause * (1 << min(failed_tries, 20)), LONGEST_HOLD)
