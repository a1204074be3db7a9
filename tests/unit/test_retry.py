"""Retries: how long to wait before the next call."""

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.core.errors import DeclarationError
from rollcall.core.retry import LONGEST_WAIT, Jitter, Retry

ANY = Random(2026)  # noqa: S311 - spreads waits, keeps no secret
HOUR = timedelta(hours=1)


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def waits(retry: Retry) -> list[float]:
    """The waits between all calls that `retry` allows, in seconds."""
    return [retry.wait(attempt, ANY).total_seconds() for attempt in range(1, retry.retries + 1)]


retries = st.builds(
    Retry,
    retries=st.integers(0, 100),
    first=st.timedeltas(timedelta(0), timedelta(days=1)),
    factor=st.floats(1, 1_000),
    cap=st.timedeltas(timedelta(0), LONGEST_WAIT),
    jitter=st.sampled_from(Jitter),
)
attempts = st.integers(1, 101)


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (Retry(3, seconds(2), 2, jitter=Jitter.NONE), [2, 4, 8]),
        (Retry(4, seconds(5), 1, jitter=Jitter.NONE), [5, 5, 5, 5]),
        (Retry(3, seconds(0.1), 10, jitter=Jitter.NONE), [0.1, 1, 10]),
        (Retry(5, seconds(60), 3, cap=seconds(600), jitter=Jitter.NONE), [60, 180, 540, 600, 600]),
        (Retry(2, seconds(0), 2, jitter=Jitter.NONE), [0, 0]),
        (Retry(1, HOUR, 2, cap=seconds(600), jitter=Jitter.NONE), [600]),
        (Retry(0), []),
    ],
)
def test_waits_grow_by_the_factor_up_to_the_cap(retry: Retry, expected: list[float]) -> None:
    assert waits(retry) == expected


def test_a_job_that_says_nothing_retries_three_times_from_two_seconds() -> None:
    assert Retry() == Retry(3, seconds(2), 2.0, cap=timedelta(minutes=15), jitter=Jitter.FULL)


@given(retries, attempts)
def test_no_wait_is_negative_or_longer_than_the_cap(retry: Retry, attempt: int) -> None:
    assert timedelta(0) <= retry.wait(attempt, ANY) <= retry.cap


def test_full_jitter_spreads_waits_over_their_whole_length() -> None:
    spread = [Retry(first=seconds(8), jitter=Jitter.FULL).wait(1, ANY) / seconds(8) for _ in range(1_000)]
    assert min(spread) < 0.01
    assert 0.45 < sum(spread) / len(spread) < 0.55
    assert 0.99 < max(spread) <= 1


def test_the_hundredth_retry_of_the_steepest_kind_waits_no_longer_than_the_cap() -> None:
    assert Retry(100, HOUR, 1_000, cap=HOUR, jitter=Jitter.NONE).wait(101, ANY) == HOUR


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (seconds(1), seconds(2)),
        (seconds(90), seconds(90)),
        (HOUR, HOUR),
        (timedelta(days=3), LONGEST_WAIT),
    ],
)
def test_the_targets_retry_after_is_the_least_wait_even_beyond_the_cap(asked: timedelta, expected: timedelta) -> None:
    assert Retry(first=seconds(2), cap=seconds(600), jitter=Jitter.NONE).wait(1, ANY, at_least=asked) == expected


@given(retries, attempts, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_a_message_can_stay_invisible_for_as_long_as_it_waits(retry: Retry, attempt: int, asked: timedelta) -> None:
    assert min(asked, LONGEST_WAIT) <= retry.wait(attempt, ANY, at_least=asked) <= LONGEST_WAIT


def test_the_longest_wait_is_one_that_a_message_can_stay_invisible_for() -> None:
    assert Retry(cap=LONGEST_WAIT).cap < timedelta(hours=12)


@pytest.mark.parametrize(
    "declared",
    [
        {"retries": -1},
        {"retries": 101},
        {"first": seconds(-1)},
        {"factor": 0.9},
        {"factor": 1_001},
        {"factor": float("nan")},
        {"factor": float("inf")},
        {"cap": seconds(-1)},
        {"cap": LONGEST_WAIT + seconds(1)},
    ],
    ids=str,
)
def test_waits_that_cannot_be_are_refused_where_they_are_declared(declared: dict[str, object]) -> None:
    with pytest.raises(DeclarationError, match="Retry"):
        Retry(**declared)  # type: ignore[arg-type] # the wrong values are the point
