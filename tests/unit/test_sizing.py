"""Sizing: queue, function and mapping settings that follow from a job, within AWS's limits."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.core import sizing
from rollcall.core.batches import Batches
from rollcall.core.errors import DeclarationError
from rollcall.core.job import Job
from rollcall.core.rate import Rate
from rollcall.core.sizing import ANSWERS_BYTES, PATIENCE, WorkerSizing, window, worker_sizing
from rollcall.core.target import Target
from tests.unit.jobs import job

SECOND = timedelta(seconds=1)


def declared(concurrency: int, timeout: timedelta = 10 * SECOND) -> Job:
    return job(concurrency=concurrency, target=Target("bank", concurrency=concurrency, timeout=timeout))


def calls_at_once(worker: WorkerSizing) -> int:
    return worker.maximum_concurrency * worker.width


timeouts = st.timedeltas(timedelta(milliseconds=100), timedelta(minutes=5))
jobs = st.builds(declared, st.integers(2, 100_000), timeouts)
#: Up to here a mapping's MaximumConcurrency does not limit a job.
unlimited = st.builds(declared, st.integers(10, 10_000), timeouts)


@pytest.mark.parametrize(
    ("concurrency", "invocations", "width"),
    [(2, 2, 1), (5, 2, 2), (10, 2, 5), (19, 2, 9), (20, 2, 10), (29, 2, 10), (50, 5, 10), (10_000, 1_000, 10)],
)
def test_calls_share_an_invocation_as_far_as_they_can(concurrency: int, invocations: int, width: int) -> None:
    worker = worker_sizing(declared(concurrency))
    assert (worker.maximum_concurrency, worker.width) == (invocations, width)


@given(jobs)
def test_a_job_never_makes_more_calls_at_once_than_it_declares(job: Job) -> None:
    assert calls_at_once(worker_sizing(job)) <= job.concurrency


@given(unlimited)
def test_a_job_makes_most_of_the_calls_that_it_may(job: Job) -> None:
    assert calls_at_once(worker_sizing(job)) >= 0.6 * job.concurrency


@given(jobs)
def test_settings_are_such_as_aws_takes(job: Job) -> None:
    worker = worker_sizing(job)
    assert 2 <= worker.maximum_concurrency <= 1_000
    assert 1 <= worker.width <= worker.batch_size <= 10
    assert SECOND <= worker.timeout <= timedelta(minutes=15)
    assert worker.visibility <= timedelta(hours=12)


@given(jobs)
def test_a_message_stays_invisible_for_six_timeouts(job: Job) -> None:
    worker = worker_sizing(job)
    assert worker.visibility == 6 * worker.timeout


@given(jobs)
def test_times_are_whole_seconds(job: Job) -> None:
    worker = worker_sizing(job)
    assert not worker.timeout % SECOND
    assert not worker.visibility % SECOND


@pytest.mark.parametrize(
    ("concurrency", "call_seconds", "timeout_seconds"),
    [
        pytest.param(50, 10, 25, id="ten calls at once and the margin"),
        pytest.param(10, 10, 35, id="five at once, so two rounds"),
        pytest.param(2, 10, 115, id="one at once, so ten rounds"),
        pytest.param(50, 0.25, 16, id="rounded up"),
        pytest.param(2, 300, 615, id="no longer than a function may: two rounds"),
    ],
)
def test_an_invocation_has_time_for_all_its_calls(concurrency: int, call_seconds: float, timeout_seconds: int) -> None:
    worker = worker_sizing(declared(concurrency, call_seconds * SECOND))
    assert worker.timeout == timeout_seconds * SECOND


# --- rated targets, and those that take no keys ---


def with_target(concurrency: int = 20, window: int | None = None, **options: Any) -> Job:
    """A job of a target with these options."""
    return job(concurrency=concurrency, window=window, target=Target("bank", concurrency=concurrency, **options))


rated = st.builds(
    with_target, st.integers(2, 500), rate=st.builds(Rate.per_second, st.integers(1, 500)), timeout=timeouts
)


@given(st.builds(with_target, st.integers(2, 5_000), keys=st.none(), timeout=timeouts))
def test_where_a_claim_stands_before_each_call_an_invocation_makes_one_at_a_time(job: Job) -> None:
    worker = worker_sizing(job)
    assert worker.width == 1
    assert worker.maximum_concurrency == min(job.concurrency, 1_000)


@pytest.mark.parametrize(
    ("rate", "batch_size"),
    [
        pytest.param(Rate.per_second(20), 10, id="plenty"),
        pytest.param(Rate.per_minute(10), 5, id="ten a minute for two workers"),
        pytest.param(Rate.per_minute(2), 1, id="one for each of two"),
        pytest.param(Rate.per_hour(2), 1, id="never none"),
    ],
)
def test_a_batch_is_no_larger_than_the_slots_that_come_while_it_waits(rate: Rate, batch_size: int) -> None:
    assert worker_sizing(with_target(rate=rate)).batch_size == batch_size


@given(rated)
def test_all_workers_of_a_rated_target_get_their_slots_while_they_wait(job: Job) -> None:
    worker, rate = worker_sizing(job), job.target.rate
    assert rate is not None
    assert worker.batch_size == 1 or worker.batch_size * worker.maximum_concurrency <= rate.calls_within(PATIENCE)


@given(
    st.builds(
        with_target, st.integers(10, 500), timeout=st.just(10 * SECOND), rate=st.none() | st.just(Rate(20, SECOND))
    )
)
def test_an_invocation_has_time_to_wait_for_its_slots_beside_its_calls(job: Job) -> None:
    worker, waiting = worker_sizing(job), PATIENCE if job.target.rate is not None else timedelta(0)
    rounds = -(-worker.batch_size // worker.width)
    assert worker.timeout == rounds * job.target.timeout + waiting + sizing.SETTLE_MARGIN
    assert worker.visibility == 6 * worker.timeout


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        pytest.param(None, 50_000, id="unrated"),
        pytest.param(Rate.per_hour(10_000), 10_000, id="an hour's worth"),
        pytest.param(Rate.per_hour(100), 1_000, id="never less"),
        pytest.param(Rate.per_second(100), 50_000, id="never more"),
    ],
)
def test_a_queue_holds_an_hours_worth_of_a_rated_target(rate: Rate | None, expected: int) -> None:
    assert window(with_target(rate=rate)) == expected


def test_a_declared_window_stands() -> None:
    assert window(with_target(rate=Rate.per_hour(100), window=5_000)) == 5_000


def test_dead_letters_stay_invisible_for_six_timeouts() -> None:
    assert sizing.DEAD_LETTER_VISIBILITY >= 6 * sizing.DEAD_LETTER_TIMEOUT


def test_the_watchdog_ends_before_it_comes_again() -> None:
    assert timedelta(minutes=1) > sizing.WATCHDOG_TIMEOUT


# --- answers ---


def with_answers(width: int, answer_bytes: int | None = None) -> Job:
    """A job whose batches make `width` calls at once."""
    target = Target("bank", concurrency=width, answer_bytes=answer_bytes)
    return job(concurrency=width, target=target, delivery=Batches(size=width, at_once=1, most_entries=width))


@pytest.mark.parametrize(("width", "expected"), [(1, 1_048_576), (10, 1_048_576), (20, 1_048_576), (250, 83_886)])
def test_an_answer_has_a_mebibyte_or_what_fits(width: int, expected: int) -> None:
    assert worker_sizing(with_answers(width)).answer_bytes == expected


@pytest.mark.parametrize(("width", "declared"), [(1, 20 * 1024 * 1024), (10, 2 * 1024 * 1024), (250, 1)])
def test_an_answer_has_what_its_target_declares(width: int, declared: int) -> None:
    assert worker_sizing(with_answers(width, declared)).answer_bytes == declared


@given(jobs)
def test_all_answers_that_a_worker_waits_for_fit_into_its_memory(job: Job) -> None:
    worker = worker_sizing(job)
    assert worker.width * worker.answer_bytes <= ANSWERS_BYTES


def test_answers_that_would_not_fit_cannot_be_declared() -> None:
    with pytest.raises(DeclarationError, match=r"10 calls at once leave 2,097,152 for each .*ANSWERS_BYTES"):
        worker_sizing(with_answers(10, 2 * 1024 * 1024 + 1))
    with pytest.raises(DeclarationError, match="answer_bytes is 0; it is positive"):
        with_answers(10, 0)
