"""When an archive is due, and how far back it reaches."""

from datetime import date

import pytest

from functions.jobs.transfers._archive import Columns
from functions.jobs.transfers._calendar import months_later
from functions.jobs.transfers._states import ARCHIVED, CALLABLE, OPEN, State
from functions.jobs.transfers._targets import TRANSFERS
from functions.jobs.transfers._transfers import Transfer, Verdict
from functions.jobs.transfers.archive_transfers import COLUMNS, VERDICT_COLUMNS, End, Month, example, job


@pytest.mark.parametrize(
    ("today", "months", "expected"),
    [
        ("2026-11-26", -6, "2026-05-26"),
        ("2026-03-31", -1, "2026-02-28"),
        ("2028-03-31", -1, "2028-02-29"),
        ("2026-08-31", -6, "2026-02-28"),
        ("2028-08-29", -6, "2028-02-29"),
        ("2026-01-31", -2, "2025-11-30"),
        ("2026-06-15", -6, "2025-12-15"),
        ("2024-02-29", 12, "2025-02-28"),
        ("2023-02-28", 12, "2024-02-28"),
        ("2026-12-31", 2, "2027-02-28"),
        ("2026-12-01", 12, "2027-12-01"),
    ],
)
def test_months_are_counted_on_the_calendar_and_end_with_the_shorter_month(
    today: str, months: int, expected: str
) -> None:
    day = date.fromisoformat(today)
    assert months_later(day, months, day.day) == date.fromisoformat(expected)


def test_final_states_are_archived_and_none_that_a_run_may_take() -> None:
    assert set(State) - set(OPEN) == set(ARCHIVED)
    assert set(CALLABLE) & set(ARCHIVED) == {State.FAILED}, "only a redrive calls it, and of these the least months"


@pytest.mark.parametrize(
    ("columns", "item"),
    [
        (COLUMNS, Transfer.model_validate(example(0)).item(State.FINISHED)),
        (VERDICT_COLUMNS, Verdict(booked=True, answer="").item("a", "b")),
    ],
)
def test_there_is_a_column_for_whatever_the_tables_items_have(columns: Columns, item: dict[str, object]) -> None:
    assert item.keys() <= columns.keys()


def test_a_month_and_the_end_are_told_apart_by_what_they_carry() -> None:
    month = Month(first=date(2024, 2, 1), before=date(2024, 3, 1))
    assert month.name == "2024-02"
    for part in (month, End(archived_before=date(2024, 3, 1))):
        assert job.payloads.build(part.model_dump(mode="json")) == part


def test_deletion_is_a_need_of_its_own_of_the_same_table() -> None:
    needed = next(table for table in job.tables if table == TRANSFERS)
    assert (needed.deletes, TRANSFERS.deletes) == (True, False)
