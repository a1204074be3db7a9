"""Looks at a run under way, and when to give up looking: its functions fail again and again."""

from collections.abc import Sequence
from dataclasses import dataclass

from rollcall.core.errors import RollcallError
from rollcall.core.run import RunRecord
from rollcall.engine.runs.progress import Held
from tools.local_cloud.functions import Trouble
from tools.local_cloud.logs import last_line

#: Failures in a row that are too many, where nothing was settled for some seconds.
MOST_IN_A_ROW = 20
STALLED_SECONDS = 5.0
#: Where a function never did any work, one is: its next try may be minutes away and would fail as well.
NEVER_WORKED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment."""

    run: str
    #: None until fan-out has started it.
    record: RunRecord | None
    settled: int
    #: Since the start.
    seconds: float
    #: Of functions whose last invocations all failed.
    troubles: Sequence[Trouble] = ()
    #: What waits for a limit of the target, and until when.
    held: Sequence[Held] = ()


class StallWatch:
    """Sees the looks at one run, in their order."""

    def __init__(self, *, kept: bool) -> None:
        """`kept`: whether the functions' logs are there afterwards."""
        self._kept = kept
        self._settled = 0
        self._since = 0.0

    def check(self, look: Look) -> None:
        """Raises RollcallError, once waiting is of no use, with the function's error and what its log says."""
        if look.settled != self._settled:
            self._settled, self._since = look.settled, look.seconds
        for trouble in look.troubles:
            if self._hopeless(trouble, look):
                raise RollcallError(self._text(trouble))

    def _hopeless(self, trouble: Trouble, look: Look) -> bool:
        if trouble.kind == "watchdog":
            return False  # A run may come to its end without it.
        if trouble.kind == "fan_out" and look.record is None:
            return True
        stalled = min(look.seconds - self._since, trouble.seconds)
        if trouble.never_worked and stalled >= NEVER_WORKED_SECONDS:
            return True
        return trouble.in_a_row >= MOST_IN_A_ROW and stalled >= STALLED_SECONDS

    def _text(self, trouble: Trouble) -> str:
        said = last_line(trouble.log)[:500]
        more = f"; its log ends with: {said}" if said and said not in trouble.error else ""
        where = f"its whole log is {trouble.log}" if self._kept else "--keep leaves its whole log in .rollcall/"
        return f"{trouble.words()}{more}; {where}"
