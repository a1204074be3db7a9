"""What a person is shown: progress with what is held, results with what ended alike in one row."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from rollcall.core.entry import ManifestEntry
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord, RunState
from rollcall.core.values import counted
from rollcall.engine.runs.failures import Failure
from rollcall.engine.runs.progress import Held
from tools.cli.local_run import Result
from tools.cli.looks import Look
from tools.cli.show import MOST_ROWS, RunProgress, show_result
from tools.cli.terminal import Terminal

START = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
RUN = RunRecord("bills-20261121T023000Z", "bills", RunState.RUNNING, START, START, total=1_000)
REJECTED = Failure(
    1, 0, ManifestEntry("B0", {}), Outcome.REJECTED, 1, "http_422", "HTTP 422: no", None, START, definite=True
)


def a_console() -> tuple[Terminal, io.StringIO]:
    written = io.StringIO()
    return Terminal(file=written, width=160), written


def shown(*held: Held) -> str:
    """The line of progress of a run with these."""
    console, written = a_console()
    with RunProgress(console, quiet=False) as progress:
        progress.show(Look(RUN.id, RUN, 40, 12.0, held=held))
    return written.getvalue().strip()


def told(failures: list[Failure], not_well: int | None = None, **counts: Any) -> str:
    """A result with these failures, as it is printed."""
    number = len(failures) if not_well is None else not_well
    outcomes = dict.fromkeys(Outcome, 0) | {Outcome.REJECTED: number, Outcome.SUCCEEDED: 1}
    completed = {"total": number + 1, "outcomes": outcomes, "duplicates": 0, "clean": False, "generation": 1}
    record = replace(RUN, state=RunState.COMPLETE)
    result = Result(record, completed, 1, 2.0, failures, {"calls": 1, "injected": 0}, {}, 1, {}, {})
    console, written = a_console()
    show_result(console, replace(result, **counts))
    return written.getvalue()


@pytest.mark.parametrize(
    ("held", "text"),
    [
        ((), "12 s  running: 40 of 1,000 settled"),
        (
            (Held(60, "the rate of bank", datetime(2026, 11, 21, 2, 45, 1, tzinfo=UTC)),),
            "12 s  running: 40 of 1,000 settled, 60 held until 02:45:01Z: the rate of bank",
        ),
        (
            (Held(1_200, "the job bills is paused"), Held(1, "bank never answered")),
            "12 s  running: 40 of 1,000 settled, 1,200 held: the job bills is paused; 1 held: bank never answered",
        ),
    ],
    ids=["none", "until", "two"],
)
def test_what_is_held_is_shown_with_its_reason_and_until_when(held: tuple[Held, ...], text: str) -> None:
    assert shown(*held) == text


def test_entries_that_ended_alike_share_a_row() -> None:
    alike = [replace(REJECTED, line=ManifestEntry(f"B{n}", {})) for n in range(1_000)]
    text = told([*alike, replace(REJECTED, line=ManifestEntry("C1", {}), reason="HTTP 422: gone"), REJECTED])
    rows = [line for line in text.splitlines() if "http_422" in line]
    assert len(rows) == 2
    assert "B0, B1, B2 and 998 more" in rows[0]
    assert "C1" in rows[1]
    assert "the first" not in text


def test_an_entry_without_a_key_is_named_by_its_number() -> None:
    assert "number 17" in told([replace(REJECTED, line=ManifestEntry(None, {}), index=16)])


def test_what_is_not_shown_is_counted() -> None:
    apart = [replace(REJECTED, reason=f"reason {n}") for n in range(MOST_ROWS + 5)]
    text = told(apart, 5_000)
    assert "the first 20 of 5,000" in text
    assert f"reason {MOST_ROWS}" not in text


def test_one_of_a_thing_is_told_as_one() -> None:
    text = told([REJECTED])
    assert "1 call received by the stand-in" in text
    assert "1 message sent" in text
    assert [counted(n, "entry") for n in (0, 1, 8_000)] == ["0 entries", "1 entry", "8,000 entries"]


def test_a_run_in_batches_is_told_with_its_executions_and_another_with_its_messages() -> None:
    assert "1 message sent" in told([REJECTED])
    in_batches = told([REJECTED], requests={"sfn": {"StartExecution": 1}})
    assert "in batches, by 1 execution of the state machine" in in_batches
    assert "sent" not in in_batches
