"""Recurring transfers, without tables and bank: when they are due again, and what an answer means."""

from calendar import monthrange
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from functions.jobs.transfers._calendar import Interval, months_later, occurrences
from functions.jobs.transfers._states import CALLABLE, OPEN, TAKEN, Meaning, State, meaning
from functions.jobs.transfers._transfers import Transfer
from functions.jobs.transfers.execute_transfers import example, job
from rollcall.core.entry import Entry
from rollcall.core.target import RETRIED

days = st.dates(date(2024, 1, 1), date(2032, 12, 31))
anchors = st.integers(1, 31)


def dates(due: str, interval: Interval, day: int, today: str) -> list[str]:
    found = occurrences(date.fromisoformat(due), interval, day, date.fromisoformat(today))
    return [str(each) for each in found]


# --- The calendar ---


@pytest.mark.parametrize(
    ("due", "day", "today", "expected"),
    [
        ("2026-11-22", 22, "2026-11-22", ["2026-12-22", "2027-01-22"]),
        ("2026-10-31", 31, "2026-10-31", ["2026-11-30", "2026-12-31"]),
        ("2026-12-31", 31, "2026-12-31", ["2027-01-31", "2027-02-28"]),
        # Its own day comes back after the short month.
        ("2027-02-28", 31, "2027-02-28", ["2027-03-31"]),
        ("2027-02-28", 30, "2027-03-01", ["2027-03-30", "2027-04-30"]),
        ("2028-01-30", 30, "2028-01-30", ["2028-02-29", "2028-03-30"]),
        # Executed late: what lies between had its transfer already.
        ("2026-08-15", 15, "2026-11-22", ["2026-12-15", "2027-01-15"]),
        ("2026-10-22", 22, "2026-11-22", ["2026-12-22", "2027-01-22"]),
    ],
)
def test_a_monthly_transfer_is_due_on_its_day_or_on_the_last_of_a_shorter_month(
    due: str, day: int, today: str, expected: list[str]
) -> None:
    assert dates(due, Interval.MONTHLY, day, today) == expected


def test_a_weekly_transfer_is_due_every_seven_days_for_two_months() -> None:
    expected = ["11-29", "12-06", "12-13", "12-20", "12-27", "01-03", "01-10", "01-17"]
    assert [each[5:] for each in dates("2026-11-22", Interval.WEEKLY, 22, "2026-11-22")] == expected
    assert dates("2026-11-20", Interval.WEEKLY, 20, "2026-11-22")[0] == "2026-11-27"


def test_two_months_end_with_the_month_where_that_is_shorter() -> None:
    assert dates("2026-12-28", Interval.WEEKLY, 28, "2026-12-31")[-1] == "2027-02-22"
    assert dates("2027-01-03", Interval.WEEKLY, 3, "2026-12-31")[-1] == "2027-02-28"


@given(days, st.sampled_from(Interval), anchors, st.integers(0, 400))
def test_occurrences_are_those_of_the_calendar_after_today_and_within_two_months(
    due: date, interval: Interval, day: int, late: int
) -> None:
    today = due + timedelta(days=late)
    found = list(occurrences(due, interval, day, today))
    last = months_later(today, 2, today.day)
    expected = [
        each
        for each in (today + timedelta(days=number) for number in range(1, (last - today).days + 1))
        if (
            (each - due).days % 7 == 0
            if interval is Interval.WEEKLY
            else each.day == min(day, monthrange(each.year, each.month)[1])
            and (each.year, each.month) > (due.year, due.month)
        )
    ]
    assert found == expected
    assert found, "else a series would end"


@given(days, st.integers(0, 40), anchors)
def test_months_later_is_in_that_month_on_that_day_or_on_its_last(moment: date, months: int, day: int) -> None:
    found = months_later(moment, months, day)
    assert found.year * 12 + found.month == moment.year * 12 + moment.month + months
    assert found.day == min(day, monthrange(found.year, found.month)[1])


# --- A series ---


def transfer(**fields: object) -> Transfer:
    found = {
        "id": "RT-1-2026-10-31",
        "series": "RT-1",
        "due": "2026-10-31",
        "interval": "monthly",
        "day": 31,
        "from": "GB1",
        "to": "GB2",
        "amount": "12.50",
        "currency": "GBP",
    }
    return Transfer.model_validate(found | fields)


def test_what_follows_is_the_same_transfer_on_other_days_under_their_names() -> None:
    first, second = transfer().following(date(2026, 11, 1))
    assert first == transfer(id="RT-1-2026-11-30", due="2026-11-30")
    assert second == transfer(id="RT-1-2026-12-31", due="2026-12-31")


def test_the_bank_is_sent_the_transfers_own_id_as_its_reference() -> None:
    assert transfer().order() == {
        "reference": "RT-1-2026-10-31", "from": "GB1", "to": "GB2", "amount": "12.50", "currency": "GBP",
    }  # fmt: skip


def test_an_item_of_the_table_makes_the_transfer_again() -> None:
    item = transfer().item(State.PENDING)
    assert item["state"] == "PENDING"
    assert Transfer.model_validate(item) == transfer()


@pytest.mark.parametrize(
    "fields",
    [{"amount": "-1"}, {"amount": "1e3"}, {"day": 32}, {"interval": "yearly"}, {"currency": "pounds"}, {"id": ""}],
)
def test_what_cannot_be_transferred_is_invalid(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        transfer(**fields)


def test_the_payload_does_not_change_with_the_state() -> None:
    payloads = [
        job.payloads.enumerated(Entry("k", transfer().item(state) | {"run": "r", "called_by": "r"}))
        for state in (State.PENDING, State.IN_FLY)
    ]
    assert payloads[0].rejected is None
    assert payloads[0] == payloads[1]


@given(st.integers(0, 10_000))
def test_examples_are_distinct_transfers_that_were_due_long_ago(n: int) -> None:
    found = Transfer.model_validate(example(n))
    assert found.due < date(2025, 2, 1)
    assert found.id == f"{found.series}-{found.due}"
    assert example(n) == example(n)
    assert example(n)["state"] == "PENDING"
    assert example(n)["id"] != example(n + 1)["id"]


# --- States ---


def test_what_may_have_been_paid_is_taken_by_no_run_and_what_is_finished_called_by_none() -> None:
    assert set(TAKEN) == {State.PENDING, State.IN_FLY, State.RETRY}
    # What a run marks itself must not come round again in a later pass.
    assert TAKEN[0] is State.IN_FLY
    assert set(State) - set(CALLABLE) == {State.FINISHED}
    assert set(CALLABLE) - set(OPEN) == {State.FAILED}


@pytest.mark.parametrize("status", [400, 402, 406, 410, 412, 418, 422])
def test_what_the_bank_says_no_to_is_refused(status: int) -> None:
    assert meaning(status) is Meaning.REFUSED


@pytest.mark.parametrize("status", [*sorted(RETRIED), 302, 401, 403, 404, 405])
def test_what_the_bank_did_not_decide_is_no_refusal(status: int) -> None:
    assert meaning(status) is Meaning.DOWN


def test_a_conflict_is_an_earlier_call_that_the_bank_is_still_at() -> None:
    assert meaning(409) is Meaning.UNDER_WAY


def test_the_job_moves_money_with_keys_at_the_declared_rate() -> None:
    assert job.moves_money
    assert job.target.keys is not None
    assert job.target.rate is not None
    assert {table.name for table in job.tables} == {"transfers", "provider-status"}
