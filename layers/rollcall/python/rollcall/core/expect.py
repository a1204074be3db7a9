"""How many entries a job expects: a guard against reports that are too short to be true."""

from dataclasses import dataclass

from rollcall.core.errors import DeclarationError
from rollcall.core.values import counted


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A run of fewer than `entries` entries is refused before anybody is called."""

    entries: int

    def __post_init__(self) -> None:
        if self.entries < 0:
            raise DeclarationError(f"AtLeast({self.entries}): a report cannot have fewer than no entries")

    def objection(self, total: int, last_total: int | None) -> str | None:
        """Why `total` entries are too few, or None."""
        del last_total
        if total >= self.entries:
            return None
        return f"the report has {counted(total, 'entry')}; the job expects at least {self.entries:,}"


@dataclass(frozen=True, slots=True)
class ShareOfLast:
    """A run of fewer than `share` of the last sealed run's entries is refused; the first run passes."""

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise DeclarationError(f"ShareOfLast({self.share}): take a share between 0 and 1, such as 0.5")

    def objection(self, total: int, last_total: int | None) -> str | None:
        """Why `total` entries are too few, or None."""
        if last_total is None or last_total == 0 or total / last_total >= self.share:
            return None
        expected = f"at least {self.share:.0%} of the last run's {last_total:,}"
        return f"the report has {counted(total, 'entry')}; the job expects {expected}"
