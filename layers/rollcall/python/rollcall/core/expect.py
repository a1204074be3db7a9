"""How many entries a job expects: a guard against reports that are too short or too long to be true."""

from dataclasses import dataclass
from typing import TypeAlias

from rollcall.core.errors import DeclarationError
from rollcall.core.values import counted

#: Entries that a source may yield where the job declares no other bound: their keys take 60 bytes each of the 512 MB of
#: temporary space. It is five times the largest run that is measured (docs/benchmarks.md).
MOST_ENTRIES = 5_000_000


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A run of fewer than `entries` entries is refused before anybody is called.

    So is one whose source yields more than `at_most`, duplicates included; enumerating stops there.
    """

    entries: int
    at_most: int = MOST_ENTRIES

    def __post_init__(self) -> None:
        if self.entries < 0:
            raise DeclarationError(f"AtLeast({self.entries}): a report cannot have fewer than no entries")
        if self.at_most < max(1, self.entries):
            raise DeclarationError(f"AtLeast({self.entries}, at_most={self.at_most}): no report has so many and so few")

    def objection(self, total: int, last_total: int | None) -> str | None:
        """Why `total` entries are too few, or None."""
        del last_total
        if total >= self.entries:
            return None
        return f"the report has {counted(total, 'entry')}; the job expects at least {self.entries:,}"


@dataclass(frozen=True, slots=True)
class ShareOfLast:
    """A run of fewer than `share` of the last sealed run's entries is refused; the first run passes.

    So is one whose source yields more than `at_most` entries, duplicates included; enumerating stops there.
    """

    share: float
    at_most: int = MOST_ENTRIES

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise DeclarationError(f"ShareOfLast({self.share}): take a share between 0 and 1, such as 0.5")
        if self.at_most < 1:
            raise DeclarationError(f"ShareOfLast({self.share}, at_most={self.at_most}): let a run have 1 entry or more")

    def objection(self, total: int, last_total: int | None) -> str | None:
        """Why `total` entries are too few, or None."""
        if last_total is None or last_total == 0 or total / last_total >= self.share:
            return None
        expected = f"at least {self.share:.0%} of the last run's {last_total:,}"
        return f"the report has {counted(total, 'entry')}; the job expects {expected}"


@dataclass(frozen=True, slots=True)
class AtMost:
    """A run whose source yields more than `entries`, duplicates included, is refused; one of no entries passes.

    Enumerating stops there, and nobody is called.
    """

    entries: int

    def __post_init__(self) -> None:
        if self.entries < 1:
            raise DeclarationError(f"AtMost({self.entries}): let a run have 1 entry or more")

    @property
    def at_most(self) -> int:
        return self.entries

    def objection(self, total: int, last_total: int | None) -> str | None:
        """None: no number of entries is too few."""
        del total, last_total
        return None


Expect: TypeAlias = AtLeast | AtMost | ShareOfLast


def too_many(most: int) -> str:
    """Why enumerating stops after `most` entries."""
    return (
        f"its source yields more than {counted(most, 'entry')}, duplicates included; if that is right, declare the job "
        f"with more, as in expect=AtMost({2 * most:_})"
    )
