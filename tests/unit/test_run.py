"""Runs: their ids, states and announcements."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.core.errors import RollcallError
from rollcall.core.job import LONGEST_JOB_NAME
from rollcall.core.outcome import Outcome
from rollcall.core.run import (
    OPEN,
    TERMINAL,
    Run,
    RunCompleted,
    RunRecord,
    RunState,
    job_of,
    run_id,
)
from rollcall.core.target import Report
from rollcall.core.tree import Tree
from tests.unit.jobs import DUE, RUN_ID, job

RECORD = RunRecord(RUN_ID, "client-deposit-update", RunState.DISPATCHING, DUE, DUE, nonce="n1", total=8_000)
COMPLETED = RunCompleted(
    RUN_ID,
    "client-deposit-update",
    generation=1,
    state=RunState.COMPLETE,
    scheduled_for=DUE,
    started_at=DUE + timedelta(seconds=1),
    completed_at=DUE + timedelta(seconds=43.2504),
    total=8_000,
    outcomes={Outcome.SUCCEEDED: 8_000},
)

job_names = st.from_regex(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", fullmatch=True).filter(lambda name: len(name) <= 40)
nonces = st.none() | st.from_regex(r"[a-z0-9]{1,14}", fullmatch=True)
instants = st.datetimes(datetime(2000, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
offsets = st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))


# --- Ids ---


def test_a_run_is_named_after_its_job_and_its_scheduled_time() -> None:
    assert run_id("client-deposit-update", DUE) == "client-deposit-update-20261121T023000Z"


def test_a_manual_run_has_a_nonce() -> None:
    assert run_id("client-deposit-update", DUE, "x1") == "client-deposit-update-20261121T023000Z-x1"


def test_the_longest_name_and_nonce_make_a_run_id_of_72_characters() -> None:
    longest = run_id("j" * LONGEST_JOB_NAME, DUE, "n" * 14)
    assert len(longest) == 72


@given(job_names, instants, nonces)
def test_every_job_that_can_be_declared_can_be_run(name: str, due: datetime, nonce: str | None) -> None:
    assert job_of(run_id(job(name).name, due, nonce)) == name


@given(instants, offsets)
def test_a_scheduled_time_told_in_another_zone_names_the_same_run(due: datetime, zone: timezone) -> None:
    assert run_id("deposits", due.astimezone(zone)) == run_id("deposits", due)


def test_both_hours_when_the_clocks_go_back_are_runs_of_their_own() -> None:
    first = datetime(2026, 10, 25, 1, 30, tzinfo=ZoneInfo("Europe/London"))
    assert run_id("deposits", first) != run_id("deposits", first.replace(fold=1))


def test_a_naive_time_names_no_run() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        run_id("deposits", datetime(2026, 11, 21, 2, 30))  # noqa: DTZ001 - the point


@pytest.mark.parametrize(
    ("name", "nonce"),
    [("j" * 41, None), ("Deposits", None), ("", None), ("deposits", "n" * 15), ("deposits", ""), ("deposits", "N-1")],
)
def test_what_does_not_fit_is_no_run_id(name: str, nonce: str | None) -> None:
    with pytest.raises(ValueError, match="is not a run id"):
        run_id(name, DUE, nonce)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "deposits",
        "deposits-2026-11-21",
        "deposits-20261121T023000",
        "deposits-20261121T023000Z-",
        "deposits-20261121T023000Z-a-b",
        "deposits-20261121T023000Z\n",
        "-20261121T023000Z",
        "deposits/20261121T023000Z",
        "deposits-\u0662\u0660261121T023000Z",
    ],
)
def test_other_texts_belong_to_no_job(text: str) -> None:
    with pytest.raises(ValueError, match="is not a run id such as"):
        job_of(text)


# --- States ---


def test_a_run_is_queued_open_or_at_its_end() -> None:
    early = {RunState.QUEUED, RunState.ENUMERATING, RunState.CANCELLING}
    assert set(RunState) == early | OPEN | TERMINAL
    assert not OPEN & TERMINAL


@pytest.mark.parametrize("state", RunState)
def test_an_ended_run_is_terminal(state: RunState) -> None:
    ended = {"complete", "skipped", "refused", "cancelled", "missed"}
    assert state.terminal is (state.value in ended)


# --- What the ledger knows of a run ---


def test_a_run_begins_with_its_first_generation_and_nothing_sent() -> None:
    begun = RunRecord(RUN_ID, "deposits", RunState.ENUMERATING, DUE, DUE)
    assert (begun.generation, begun.enumerations, begun.fence) == (1, 1, 1)
    assert (begun.total, begun.duplicates, begun.checkpoint, begun.window_end, begun.announced) == (0, 0, 0, 0, False)


def test_a_run_counts_by_the_arithmetic_of_its_seal() -> None:
    assert replace(RECORD, total=90, chunk_size=10, fan_in=3).tree == Tree(90, 10, 3)


def test_a_sealed_run_has_a_manifest() -> None:
    assert RECORD.sealed_nonce == "n1"


def test_a_run_that_is_not_sealed_has_no_manifest() -> None:
    with pytest.raises(RollcallError, match="is not sealed"):
        _ = replace(RECORD, nonce=None).sealed_nonce


@pytest.mark.parametrize(
    ("lease_until", "leased"),
    [(None, False), (DUE - timedelta(seconds=1), False), (DUE, False), (DUE + timedelta(seconds=1), True)],
)
def test_a_fan_out_may_be_at_work_until_its_lease_ends(lease_until: datetime | None, leased: bool) -> None:
    assert replace(RECORD, lease_until=lease_until).leased(DUE) is leased


# --- What a source knows of its run ---


def test_a_source_reads_reports_and_secrets_through_its_run() -> None:
    run = Run(RUN_ID, "deposits", DUE, _read=lambda report: iter([{"from": report.name}]), _secret=str.upper)
    assert [*run.read(Report("deposits"))] == [{"from": "deposits"}]
    assert run.secret("workday") == "WORKDAY"


def test_a_run_without_reader_says_what_to_pass() -> None:
    with pytest.raises(RollcallError, match="without a reader"):
        Run(RUN_ID, "deposits", DUE).read(Report("deposits"))


def test_a_run_without_secrets_says_what_to_pass() -> None:
    with pytest.raises(RollcallError, match="without secrets"):
        Run(RUN_ID, "deposits", DUE).secret("workday")


def test_two_runs_are_equal_whatever_reads_for_them() -> None:
    assert Run(RUN_ID, "deposits", DUE, _read=lambda _: iter(())) == Run(RUN_ID, "deposits", DUE)


# --- The announcement ---


@pytest.mark.parametrize(
    ("completed", "clean"),
    [
        (COMPLETED, True),
        (replace(COMPLETED, total=0, outcomes={Outcome.SUCCEEDED: 0}), True),
        (replace(COMPLETED, outcomes={Outcome.SUCCEEDED: 7_999, Outcome.REJECTED: 1}), False),
        (replace(COMPLETED, state=RunState.CANCELLED), False),
        (replace(COMPLETED, state=RunState.REFUSED, total=0, outcomes={Outcome.SUCCEEDED: 0}), False),
    ],
)
def test_a_run_is_clean_if_it_is_complete_and_all_succeeded(completed: RunCompleted, clean: bool) -> None:
    assert completed.clean is clean


def test_each_generation_is_announced_under_an_id_of_its_own() -> None:
    assert (COMPLETED.id, replace(COMPLETED, generation=2).id) == (f"{RUN_ID}/1", f"{RUN_ID}/2")


def test_an_announcement_tells_everything_in_json() -> None:
    assert json.loads(json.dumps(COMPLETED.detail())) == {
        "id": f"{RUN_ID}/1",
        "run": RUN_ID,
        "job": "client-deposit-update",
        "generation": 1,
        "state": "complete",
        "clean": True,
        "total": 8_000,
        "outcomes": {"succeeded": 8_000},
        "duplicates": 0,
        "reason": None,
        "scheduled_for": "2026-11-21T02:30:00.000000+00:00",
        "started_at": "2026-11-21T02:30:01.000000+00:00",
        "completed_at": "2026-11-21T02:30:43.250400+00:00",
        "duration_seconds": 42.25,
    }
