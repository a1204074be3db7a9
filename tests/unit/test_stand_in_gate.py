"""The parts that turn calls of a stand-in away or count them: limit, outage, arrivals, and the time they go by."""

import time

import pytest

from tools.stand_ins.arrivals import Arrivals
from tools.stand_ins.clock import LoopClock
from tools.stand_ins.limit import Limit
from tools.stand_ins.outage import Outage

# --- Limit ---


def test_a_burst_comes_through_and_the_next_call_does_not() -> None:
    limit = Limit(per_s=10, burst=5)
    assert [limit.take(100) for _ in range(7)] == [True] * 5 + [False] * 2


def test_a_slot_comes_back_every_interval_and_the_burst_after_a_rest() -> None:
    limit = Limit(per_s=10, burst=3)
    assert [limit.take(100) for _ in range(3)] == [True] * 3
    assert [limit.take(now) for now in (100.09, 100.1, 100.1, 100.19, 100.2)] == [False, True, False, False, True]
    assert [limit.take(200) for _ in range(4)] == [True] * 3 + [False]


def test_who_keeps_the_pace_exactly_is_never_limited_however_the_floats_fall() -> None:
    for per_s in (3, 7, 10, 50):
        limit = Limit(per_s, burst=3)
        assert all(limit.take(1_000_000) for _ in range(2))
        assert all(limit.take(1_000_000 + n / per_s) for n in range(10_000))


def test_a_call_that_is_turned_away_uses_nothing_up() -> None:
    limit = Limit(per_s=1, burst=1)
    assert limit.take(0)
    assert not any(limit.take(n / 100) for n in range(1, 100))
    assert limit.take(1)


def test_never_more_than_burst_and_rate_in_any_window() -> None:
    limit = Limit(per_s=20, burst=4)
    taken = [now for now in (n / 1_000 for n in range(5_000)) if limit.take(now)]
    assert len(taken) == 4 + 99  # 20 a second for 4.999 s, after the burst
    assert max(sum(begin <= each < begin + 1 for each in taken) for begin in taken) <= 4 + 20


# --- Outage ---


def test_an_outage_begins_with_its_call_and_ends_after_its_time() -> None:
    outage = Outage(from_call=3, seconds=10)
    assert [outage.is_down(now, calls) for now, calls in ((0, 1), (1, 2), (2, 3), (11.9, 4), (12, 5))] == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_an_outage_comes_once_even_if_the_number_of_calls_stays() -> None:
    outage = Outage(from_call=1, seconds=10)
    assert [outage.is_down(now, 1) for now in (0, 9, 10, 11)] == [True, True, False, False]


def test_an_outage_is_begun_and_ended_by_hand() -> None:
    outage = Outage(from_call=None, seconds=10)
    assert not outage.is_down(0, 1_000)
    outage.begin(5, 30)
    assert outage.is_down(34.9, 1_001)
    outage.begin(34.9, 0)
    assert not outage.is_down(34.9, 1_002)


def test_an_outage_by_hand_does_not_replace_the_one_that_is_to_come() -> None:
    outage = Outage(from_call=2, seconds=10)
    outage.begin(0, 1)
    assert [outage.is_down(now, calls) for now, calls in ((0, 1), (2, 1), (3, 2))] == [True, False, True]


# --- Arrivals ---


@pytest.mark.parametrize(
    ("times", "busiest"),
    [
        ([], 0),
        ([5.0], 1),
        ([5.0, 5.5, 5.999], 3),
        ([5.0, 6.0, 7.0], 1),
        # No second of the clock has more than two of these.
        ([5.8, 5.9, 6.1, 6.2, 9.0], 4),
        ([0.0, 0.1, 0.2, 3.0, 3.1], 3),
    ],
)
def test_the_busiest_second_begins_anywhere(times: list[float], busiest: int) -> None:
    arrivals = Arrivals()
    for each in times:
        arrivals.note(each)
    first, last = (times[0], times[-1]) if times else (None, None)
    assert arrivals.stats() == {"busiest_second": busiest, "first_call": first, "last_call": last}


def test_the_busiest_second_is_that_of_counting_every_window() -> None:
    times = [n * n % 997 / 128 for n in range(300)]
    arrivals = Arrivals()
    for each in sorted(times):
        arrivals.note(each)
    # A window that begins between two calls holds no more than the one that begins with the next call.
    windows = [sum(begin <= each < begin + 1 for each in times) for begin in times]
    assert arrivals.stats()["busiest_second"] == max(windows)


# --- Clock ---


def test_now_means_the_same_to_every_process_and_monotonic_is_that_of_the_machine() -> None:
    clock = LoopClock()
    assert abs(clock.now() - time.time()) < 60
    before = time.monotonic()
    assert before <= clock.monotonic() <= time.monotonic()
