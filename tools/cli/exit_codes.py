"""What the process ends with; scripts rely on it."""

from rollcall.core.run import RunState

CLEAN = 0
ERROR = 1
NOT_CLEAN = 3
NOBODY_CALLED = 4
INTERRUPTED = 130


def of_run(state: RunState, *, clean: bool) -> int:
    """0: complete and clean; 3: complete and not clean, cancelled or missed; 4: refused or skipped."""
    if state in {RunState.REFUSED, RunState.SKIPPED}:
        return NOBODY_CALLED
    return CLEAN if clean else NOT_CLEAN
