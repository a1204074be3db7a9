"""Sizing: queue, function and mapping settings that follow from a job, within AWS's limits."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.core import sizing
from rollcall.core.job import Job
from rollcall.core.sizing import WorkerSizing, worker_sizing
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
    assert 1 <= worker.width <= worker.batch_size == 10
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
        pytest.param(2, 300, 900, id="no longer than a function may"),
    ],
)
def test_an_invocation_has_time_for_all_its_calls(concurrency: int, call_seconds: float, timeout_seconds: int) -> None:
    worker = worker_sizing(declared(concurrency, call_seconds * SECOND))
    assert worker.timeout == timeout_seconds * SECOND


def test_dead_letters_stay_invisible_for_six_timeouts() -> None:
    assert sizing.DEAD_LETTER_VISIBILITY >= 6 * sizing.DEAD_LETTER_TIMEOUT


def test_the_watchdog_ends_before_it_comes_again() -> None:
    assert timedelta(minutes=1) > sizing.WATCHDOG_TIMEOUT
