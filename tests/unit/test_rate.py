"""Rates and breakers: slots never come faster than declared, and hardly slower."""

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.core.breaker import LONGEST_HOLD, Breaker
from rollcall.core.errors import DeclarationError
from rollcall.core.rate import Rate, microseconds, moment, slots
from rollcall.core.target import UNLIMITED, Keys, Location, Target

SECOND = timedelta(seconds=1)
NOW = microseconds(datetime(2026, 11, 21, 2, 30, tzinfo=UTC))
FAR = NOW + 10**13

rates = st.builds(
    Rate,
    st.integers(1, 5_000),
    st.sampled_from([timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)]),
    st.none() | st.integers(1, 50),
)


def taken(rate: Rate, wants: list[tuple[int, int]], patience: int = 10**13) -> list[int]:
    """The slots of takers who come one after another: after a pause in microseconds, wanting so many."""
    free, now = None, NOW
    times: list[int] = []
    for pause, wanted in wants:
        now += pause
        found = slots(rate, free, now, wanted, now + patience)
        if found.times:
            free = found.following
        times += found.times
    return times


def most_within(times: list[int], window: int) -> int:
    """The most slots in any window of this length; one that begins as a slot does is the fullest."""
    times = sorted(times)
    return max(sum(first <= time < first + window for time in times) for first in times)


takers = st.lists(st.tuples(st.integers(0, 90_000_000), st.integers(0, 12)), min_size=1, max_size=20)


# --- slots ---


@given(rates, takers, st.integers(1, 600_000_000))
def test_no_window_has_more_than_the_burst_and_what_the_rate_allows(
    rate: Rate, wants: list[tuple[int, int]], window: int
) -> None:
    times = taken(rate, [(0, 1), *wants])
    allowed = rate.most_at_once + window * rate.calls / (rate.per / timedelta(microseconds=1))
    assert most_within(times, window) <= allowed


@given(rates, takers, st.integers(1, 600_000_000), st.integers(0, 60_000_000))
def test_nor_where_takers_have_little_patience(
    rate: Rate, wants: list[tuple[int, int]], window: int, patience: int
) -> None:
    times = taken(rate, [(0, 1), *wants], patience)
    allowed = rate.most_at_once + window * rate.calls / (rate.per / timedelta(microseconds=1))
    assert most_within(times, window) <= allowed


@given(rates, st.lists(st.integers(1, 12), min_size=1, max_size=20))
def test_who_always_has_work_gets_the_whole_rate(rate: Rate, wants: list[int]) -> None:
    times = taken(rate, [(0, wanted) for wanted in wants])
    number = len(times)
    assert number == sum(wants)
    assert times[-1] == NOW + max(0, number - rate.most_at_once) * rate.interval


@given(rates, takers)
def test_slots_come_in_order_and_none_in_the_past(rate: Rate, wants: list[tuple[int, int]]) -> None:
    times = taken(rate, wants)
    assert times == sorted(times)
    assert all(time >= NOW for time in times)


@given(rates, st.none() | st.integers(NOW - 10**10, NOW + 10**10), st.integers(0, 12), st.integers(-(10**8), 10**8))
def test_none_is_later_than_it_may_be_and_none_that_is_not_is_kept_back(
    rate: Rate, free: int | None, wanted: int, patience: int
) -> None:
    found = slots(rate, free, NOW, wanted, NOW + patience)
    assert all(time <= NOW + max(0, patience) for time in found.times)
    assert len(found.times) == wanted or found.following > NOW + patience


def test_a_rest_saves_up_a_burst_and_no_more() -> None:
    rate = Rate.per_second(10, burst=4)
    found = slots(rate, NOW - 10**9, NOW, 6, FAR)
    assert [time - NOW for time in found.times] == [0, 0, 0, 0, 100_000, 200_000]


def test_a_target_that_nobody_called_yet_has_rested() -> None:
    assert list(slots(Rate.per_second(10, burst=4), None, NOW, 4, NOW).times) == [NOW] * 4


def test_who_wants_none_takes_none() -> None:
    found = slots(Rate.per_second(10), NOW, NOW, 0, FAR)
    assert (list(found.times), found.following) == ([], NOW)


def test_clocks_that_differ_lose_nothing_but_their_difference() -> None:
    """One worker's clock runs ahead; the rate is kept on the ledger's own numbers."""
    rate, free = Rate.per_second(10, burst=1), None
    times: list[int] = []
    skewed = random.Random(1)  # noqa: S311
    for _ in range(50):
        now = NOW + skewed.randrange(0, 2_000_000)
        found = slots(rate, free, now, 1, now + 60_000_000)
        free, times = found.following, [*times, found.following - rate.interval]
    assert all(later - earlier >= rate.interval for earlier, later in pairwise(times))


# --- rates ---


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20/s", Rate.per_second(20)),
        ("90/min", Rate.per_minute(90)),
        ("1000/h", Rate.per_hour(1_000)),
        (" 20/s burst 40 ", Rate.per_second(20, burst=40)),
    ],
)
def test_a_rate_is_written_as_people_write_it(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize(
    "text", ["", "20", "20/d", "20 /s", "-1/s", "1.5/s", "20/s burst", "20/s burst 0", "0/h", "∞/s"]
)
def test_any_other_text_is_no_rate(text: str) -> None:
    with pytest.raises(DeclarationError):
        Rate.parse(text)


@given(rates)
def test_a_rate_that_is_shown_can_be_read_again(rate: Rate) -> None:
    assert Rate.parse(str(rate)).interval == rate.interval
    assert Rate.parse(str(rate)).most_at_once == rate.most_at_once


def test_a_rate_of_another_span_is_shown_as_well() -> None:
    assert str(Rate(5, timedelta(minutes=5))) == "5/0:05:00 burst 1"


@pytest.mark.parametrize(
    ("rate", "interval", "burst"),
    [
        (Rate.per_second(20), 50_000, 20),
        (Rate.per_second(3), 333_334, 3),
        (Rate.per_minute(90), 666_667, 1),
        (Rate.per_minute(600), 100_000, 10),
        (Rate.per_hour(1_000), 3_600_000, 1),
        (Rate.per_second(20, burst=1), 50_000, 1),
    ],
)
def test_the_interval_is_rounded_up_and_a_burst_is_a_seconds_worth(rate: Rate, interval: int, burst: int) -> None:
    assert (rate.interval, rate.most_at_once) == (interval, burst)


@given(rates)
def test_never_faster_than_declared(rate: Rate) -> None:
    assert rate.calls_within(rate.per) <= rate.calls
    assert rate.interval * rate.calls >= rate.per // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("calls", "per", "burst"),
    [
        (0, SECOND, None),
        (-1, SECOND, None),
        (1, timedelta(0), None),
        (1, timedelta(microseconds=999), None),
        (1, timedelta(days=2), None),
        (1, SECOND, 0),
        (1_000_001, SECOND, None),
    ],
)
def test_a_rate_that_means_nothing_is_refused(calls: int, per: timedelta, burst: int | None) -> None:
    with pytest.raises(DeclarationError):
        Rate(calls, per, burst)


@given(st.integers(0, 4 * 10**15))
def test_an_instant_comes_back_from_its_number(number: int) -> None:
    assert microseconds(moment(number)) == number


# --- breakers ---


def test_each_try_in_vain_doubles_the_pause_up_to_a_quarter_of_an_hour() -> None:
    pauses = [Breaker(pause=60 * SECOND).pause_after(tries) // SECOND for tries in range(7)]
    assert pauses == [60, 120, 240, 480, 900, 900, 900]


@given(st.integers(0, 10**9))
def test_no_pause_is_longer_whatever_the_number_of_tries(tries: int) -> None:
    assert Breaker().pause <= Breaker().pause_after(tries) <= LONGEST_HOLD


@pytest.mark.parametrize(
    "options", [{"failures": 0}, {"pause": 0.5 * SECOND}, {"pause": timedelta(minutes=16)}], ids=str
)
def test_a_breaker_that_means_nothing_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(DeclarationError):
        Breaker(**options)  # type: ignore[arg-type]


# --- targets and where they are bound ---


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"timeout": 0.05 * SECOND},
        {"timeout": timedelta(minutes=6)},
        {"settles_within": -SECOND},
        {"settles_within": timedelta(days=2)},
        {"retried": frozenset({200})},
        {"never_executed": frozenset({204})},
        {"never_executed": frozenset({600})},
    ],
    ids=str,
)
def test_a_target_that_cannot_work_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(DeclarationError):
        Target("bank", **{"concurrency": 10, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("window", [timedelta(0), -SECOND])
def test_a_window_of_keys_is_positive(window: timedelta) -> None:
    with pytest.raises(DeclarationError, match="keys=None"):
        Keys(window)


BANK = Target("bank", concurrency=10, rate=Rate.per_second(5))


@pytest.mark.parametrize(
    ("text", "rate"), [(None, BANK.rate), ("20/s burst 40", Rate.per_second(20, burst=40)), (UNLIMITED, None)]
)
def test_where_a_target_is_bound_its_rate_may_be_another(text: str | None, rate: Rate | None) -> None:
    bound = Location("https://bank.example", rate=text).bind(BANK)
    assert (bound.rate, bound.name, bound.keys) == (rate, BANK.name, BANK.keys)


@pytest.mark.parametrize("text", ["", "fast", "Unlimited"])
def test_a_location_with_a_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DeclarationError):
        Location("https://bank.example", rate=text)
