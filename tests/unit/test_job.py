"""Job declarations: what cannot work is refused when the file is imported, in words that tell what to do."""

import functools
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from rollcall import Call, Cron, DeclarationError, Entry, Job, Overlap, Report, Run, RunCompleted, Secret, Target, daily
from rollcall.core.job import LONGEST_JOB_NAME
from rollcall.core.sizing import window
from tests.unit.jobs import DUE, RUN_ID, accept, job, no_entries, whole_job

if TYPE_CHECKING:
    from decimal import Decimal

RUN = Run(RUN_ID, "client-deposit-update", DUE)


# --- Names ---


@pytest.mark.parametrize("name", ["a", "client-deposit-update", "lsp2-bills", "j" * LONGEST_JOB_NAME])
def test_a_job_is_named_in_lower_case_words_with_hyphens(name: str) -> None:
    assert job(name).name == name


@pytest.mark.parametrize(
    "name",
    ["", "Deposits", "client_deposits", "2nd-deposits", "-a", "a-", "a--b", "a b", "dépôts", "a.b", "a\n", "j" * 41],
)
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match=r"the job name .* is not usable: take at most 40 characters"):
        job(name)


def bank(name: str) -> Target:
    return Target(name, concurrency=2)


@pytest.mark.parametrize("declare", [bank, Report])
@pytest.mark.parametrize("name", ["The Bank", "b" * 41])
def test_targets_and_reports_are_named_like_jobs(declare: Callable[[str], object], name: str) -> None:
    with pytest.raises(DeclarationError, match=f"name '{name}' is not usable"):
        declare(name)


@pytest.mark.parametrize("declare", [bank, Report])
def test_the_longest_name_of_a_job_is_one_for_targets_and_reports(declare: Callable[[str], Target | Report]) -> None:
    assert len(declare("b" * LONGEST_JOB_NAME).name) == LONGEST_JOB_NAME


# --- Numbers ---


@pytest.mark.parametrize(
    ("declared", "complaint"),
    [
        ({"concurrency": 1}, "concurrency is 1; .* take 2 or more"),
        ({"concurrency": -3}, "concurrency is -3; .* take 2 or more"),
        ({"concurrency": 81}, "concurrency is 81, but its target accounting takes only 80 calls at once"),
        ({"window": 999}, "window is 999; .* 1,000 to 100,000"),
        ({"window": 100_001}, "window is 100,001; .* 1,000 to 100,000"),
        ({"deadline": timedelta(0)}, "deadline is 0:00:00; .* is positive"),
        ({"deadline": timedelta(hours=-1)}, "deadline is -1 day, 23:00:00; .* is positive"),
    ],
    ids=str,
)
def test_a_number_that_cannot_work_is_refused(declared: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DeclarationError, match=f"job client-deposit-update: {complaint}"):
        job(**declared)


@pytest.mark.parametrize(
    "declared",
    [{"concurrency": 2}, {"concurrency": 80}, {"window": 1_000}, {"window": 100_000}, {"deadline": timedelta(1)}],
    ids=str,
)
def test_the_numbers_at_the_edge_are_taken(declared: dict[str, Any]) -> None:
    (name, value), *_ = declared.items()
    assert getattr(job(**declared), name) == value


@pytest.mark.parametrize(
    ("declared", "complaint"),
    [
        ({"concurrency": 0}, "at least 1 call must be allowed"),
        ({"concurrency": 2, "timeout": timedelta(milliseconds=99)}, "take 0.1 s to 5 minutes"),
        ({"concurrency": 2, "timeout": timedelta(minutes=5, seconds=1)}, "take 0.1 s to 5 minutes"),
    ],
    ids=str,
)
def test_a_target_that_cannot_work_is_refused(declared: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DeclarationError, match=f"target accounting: .*{complaint}"):
        Target("accounting", **declared)


@pytest.mark.parametrize("timeout", [timedelta(milliseconds=100), timedelta(minutes=5)])
def test_a_target_may_answer_as_fast_and_as_slowly_as_there_is(timeout: timedelta) -> None:
    assert Target("accounting", concurrency=1, timeout=timeout).timeout == timeout


def test_a_call_takes_ten_seconds_at_most_unless_its_target_says_more() -> None:
    assert Target("accounting", concurrency=2).timeout == timedelta(seconds=10)


@pytest.mark.parametrize("schedule", [lambda: Cron("30 2 * *"), lambda: Cron("61 2 * * ? *"), lambda: daily("25:00")])
def test_a_schedule_that_nothing_would_fire_is_refused_like_everything_else(schedule: Callable[[], object]) -> None:
    with pytest.raises(DeclarationError, match="Example"):
        job(schedule=schedule())


def test_what_a_job_does_not_say_is_decided_for_it() -> None:
    silent = job()
    assert (silent.concurrency, window(silent), silent.deadline) == (10, 50_000, timedelta(hours=8))
    assert (silent.overlap, silent.first_wins, silent.expect) == (Overlap.SKIP, False, None)


# --- Source, callback, hook, example ---


def test_a_source_yields_the_entries_of_a_run() -> None:
    declared = job()

    @declared.source
    def one(run: Run) -> Iterator[Entry]:
        yield Entry(run.id, None)

    assert [*declared.entries(RUN)] == [Entry(RUN_ID, None)]


@pytest.mark.parametrize("part", ["source", "callback", "on_complete", "example"])
def test_a_declared_function_stays_what_it_is(part: str) -> None:
    functions = {"source": no_entries, "callback": accept, "on_complete": print, "example": example_record}
    assert getattr(job(), part)(functions[part]) is functions[part]


def test_a_source_may_return_a_list() -> None:
    declared = job()
    declared.source(lambda _: [Entry("DEP-1", None)])
    assert [*declared.entries(RUN)] == [Entry("DEP-1", None)]


@pytest.mark.parametrize("part", ["source", "callback", "on_complete", "example"])
def test_a_part_that_is_declared_twice_is_refused(part: str) -> None:
    declared, parts = job(), {"source": no_entries, "callback": accept, "on_complete": print, "example": dict}
    getattr(declared, part)(parts[part])
    with pytest.raises(DeclarationError, match=f"two functions declared as its {part}; keep one"):
        getattr(declared, part)(parts[part])


@pytest.mark.parametrize(
    "callback",
    [
        lambda: None,
        lambda payload: payload,
        lambda payload, call, extra: (payload, call, extra),
        lambda payload, *, call: (payload, call),
        lambda *both: both,
        lambda payload, **named: (payload, named),
        lambda payload, *more: (payload, more),
    ],
    ids=["none", "one", "three", "call by name", "any number", "any names", "one or more"],
)
def test_a_callback_that_cannot_be_called_with_payload_and_call_is_refused(callback: Callable[..., Any]) -> None:
    with pytest.raises(DeclarationError, match="the callback takes two parameters, the payload and the call"):
        job().callback(callback)


def test_a_job_without_source_says_what_to_write() -> None:
    with pytest.raises(DeclarationError, match=r"has no source; decorate a generator with @job\.source"):
        job().check_complete()


def test_a_job_without_callback_says_what_to_write() -> None:
    declared = job()
    declared.source(no_entries)
    with pytest.raises(DeclarationError, match=r"has no callback; decorate a function with @job\.callback"):
        declared.check_complete()


def test_entries_of_a_job_without_source_are_refused() -> None:
    with pytest.raises(DeclarationError, match="has no source"):
        job().entries(RUN)


def test_hook_and_example_are_optional() -> None:
    declared = whole_job()
    declared.check_complete()
    assert (declared.hook, declared.example_record) == (None, None)


def test_hook_and_example_are_what_was_declared() -> None:
    def tell(completed: RunCompleted) -> None: ...

    declared = whole_job()
    declared.on_complete(tell)
    declared.example(example_record)
    assert (declared.hook, declared.example_record) == (tell, example_record)


def example_record(n: int) -> dict[str, object]:
    return {"id": n}


def test_the_reports_of_a_job_are_among_its_needs() -> None:
    deposits = Report("deposits")
    assert job(needs=[Secret("workday"), deposits]).reports == (deposits,)


# --- The type of the payload ---


class Deposit(BaseModel):
    """What the callback takes."""

    amount: int


def test_payloads_are_checked_against_the_callbacks_first_annotation() -> None:
    declared = job()

    @declared.callback
    def update(deposit: Deposit, call: Call) -> None: ...

    assert declared.payloads.build({"amount": "7"}) == Deposit(amount=7)


def test_a_callback_without_annotation_takes_any_json() -> None:
    declared = job()
    declared.callback(lambda payload, call: None)  # noqa: ARG005 - only its parameters count
    assert declared.payloads.checked({"any": ["thing"]}) == {"any": ["thing"]}


def test_an_annotation_that_exists_for_type_checkers_only_is_refused() -> None:
    declared = job()
    declared.source(no_entries)

    @declared.callback
    def update(amount: "Decimal", call: Call) -> None: ...

    with pytest.raises(DeclarationError, match="annotation cannot be resolved: name 'Decimal' is not defined"):
        declared.check_complete()


def test_an_annotation_that_nothing_can_be_checked_against_is_refused() -> None:
    declared = job()
    declared.source(no_entries)

    @declared.callback
    def update(amount: functools.partial[int], call: Call) -> None: ...

    with pytest.raises(DeclarationError, match="job client-deposit-update: payloads cannot be checked against"):
        declared.check_complete()


def test_a_job_is_shown_by_its_name() -> None:
    assert repr(Job("deposits", schedule=daily("02:30"), target=Target("bank", concurrency=10))) == "Job('deposits')"
