"""When waiting for a run is of no use any more, and what is told then."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollcall.core.errors import RollcallError
from rollcall.core.run import RunRecord, RunState
from tools.cli.looks import MOST_IN_A_ROW, Look, StallWatch
from tools.local_cloud.functions import Trouble

START = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
RUN = RunRecord("r", "bills", RunState.RUNNING, START, START, total=1_000)


def trouble(
    kind: str = "worker",
    *,
    in_a_row: int = 1,
    seconds: float = 100,
    never_worked: bool = False,
    error: str = "RuntimeError: no luck",
    log: Path = Path("/nowhere"),
) -> Trouble:
    return Trouble(f"bills-{kind}", kind, error, in_a_row, seconds, never_worked, log)


def look(seconds: float, *troubles: Trouble, settled: int = 0, record: RunRecord | None = RUN) -> Look:
    return Look("r", record, settled, seconds, troubles)


def told(*looks: Look, kept: bool = False) -> str | None:
    """What the last of these looks is told, if anything; those before it are told nothing."""
    watch = StallWatch(kept=kept)
    for each in looks[:-1]:
        watch.check(each)
    try:
        watch.check(looks[-1])
    except RollcallError as error:
        return str(error)
    return None


def test_too_many_failures_in_a_row_end_it() -> None:
    assert told(look(10, trouble(in_a_row=MOST_IN_A_ROW - 1))) is None
    text = told(look(10, trouble(in_a_row=MOST_IN_A_ROW)))
    assert (
        text
        == "bills-worker failed 20 times in a row: RuntimeError: no luck; --keep leaves its whole log in .rollcall/"
    )


def test_as_long_as_entries_are_settled_it_goes_on() -> None:
    failing = trouble(in_a_row=500)
    assert told(look(10, settled=1), look(20, failing, settled=2)) is None
    assert told(look(10, settled=1), look(20, failing, settled=2), look(24, failing, settled=2)) is None
    assert told(look(10, settled=1), look(20, failing, settled=2), look(26, failing, settled=2)) is not None


def test_a_function_that_never_worked_is_not_tried_for_ever() -> None:
    assert told(look(100, trouble(never_worked=True, seconds=29))) is None
    assert told(look(100, trouble(never_worked=True, seconds=31))) == (
        "bills-worker failed: RuntimeError: no luck; --keep leaves its whole log in .rollcall/"
    )
    assert told(look(100, trouble(never_worked=False, seconds=31))) is None, "AWS would try it again as well"


def test_a_fan_out_that_failed_before_there_was_a_run_ends_it_at_once() -> None:
    assert told(look(1, trouble("fan_out", seconds=0.1), record=None)) is not None
    assert told(look(1, trouble("worker", seconds=0.1), record=None)) is None
    assert told(look(1, trouble("fan_out", seconds=0.1))) is None, "it is tried again"


def test_a_run_comes_to_its_end_without_the_watchdog() -> None:
    assert told(look(100, trouble("watchdog", in_a_row=50, never_worked=True))) is None


@pytest.mark.parametrize("kept", [True, False])
def test_the_log_says_what_the_error_does_not(tmp_path: Path, kept: bool) -> None:
    log = tmp_path / "worker.log"
    log.write_text(
        "Traceback (most recent call last):\n  File 'a', line 1\nKeyError: 'x'\n\nTraceback (most recent\n  F"
    )
    text = told(look(10, trouble("fan_out", error="Runtime exited", log=log), record=None), kept=kept)
    where = f"its whole log is {log}" if kept else "--keep leaves its whole log in .rollcall/"
    assert text == f"bills-fan_out failed: Runtime exited; its log ends with: KeyError: 'x'; {where}"
    again = told(look(10, trouble("fan_out", error="KeyError: 'x'", log=log), record=None), kept=kept)
    assert again == f"bills-fan_out failed: KeyError: 'x'; {where}"
