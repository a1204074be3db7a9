"""TARGET's writes: slots that no two takers share, and a breaker that only its owner moves."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollcall import Breaker, Rate
from rollcall.adapters.ledger import targets
from rollcall.adapters.ledger.records import target_key
from rollcall.adapters.ledger.targets import Taken
from rollcall.core.rate import microseconds
from rollcall.core.run import TargetRecord
from tests.functional.wire import Sent
from tests.functional.world import DUE, World

NAME = "accounting"
SECOND = timedelta(seconds=1)
NOW = microseconds(DUE)
MINUTE = 60_000_000
TEN = Rate.per_second(10)
INTERVAL = 100_000


def take(
    world: World,
    seen: TargetRecord | None = None,
    wanted: int = 4,
    *,
    now: int = NOW,
    patience: int = MINUTE,
    **more: Any,
) -> Taken:
    """Slots for a taker who last saw the target as `seen`."""
    more = {"rate": TEN, "busy": False, **more}
    return targets.take_slots(
        world.ledger, seen or TargetRecord(NAME), now=now, wanted=wanted, latest=now + patience, **more
    )


def state(world: World) -> TargetRecord:
    return world.ledger.target(NAME)


def writes(world: World) -> int:
    return len(world.wire.of("UpdateItem"))


def offsets(taken: Taken) -> list[int]:
    """The slots in intervals from now."""
    return [(time - NOW) // INTERVAL for time in taken.times]


def meanwhile(world: World, act: Callable[[], object], *, times: int = 1) -> None:
    """`act` happens right before each of the next writes to TARGET."""
    left = times

    def before(sent: Sent) -> None:
        nonlocal left
        if sent.operation == "UpdateItem" and sent.key == target_key(NAME) and left:
            left -= 1
            act()

    world.wire.before = before


# --- one taker ---


def test_a_target_that_nobody_called_gives_its_burst_at_once_with_one_write(world: World) -> None:
    assert offsets(take(world, wanted=10)) == [0] * 10
    assert writes(world) == 1


def test_in_a_busy_target_all_slots_cost_one_write_whatever_others_took_since(world: World) -> None:
    seen = take(world, wanted=10).target
    take(world, seen, wanted=3, busy=True)
    world.wire.reset()
    assert offsets(take(world, seen, busy=True)) == [4, 5, 6, 7]
    assert writes(world) == 1


def test_after_a_long_rest_all_slots_cost_one_write_too(world: World) -> None:
    seen = take(world, wanted=10).target
    world.wire.reset()
    taken = take(world, seen, wanted=10, now=NOW + MINUTE)
    assert taken.times == [NOW + MINUTE] * 10
    assert writes(world) == 1


@pytest.mark.parametrize("busy", [True, False])
def test_only_as_many_as_fit_are_taken(world: World, busy: bool) -> None:
    seen = take(world, wanted=10).target
    taken = take(world, seen, wanted=10, patience=3 * INTERVAL, busy=busy)
    assert offsets(taken) == [1, 2, 3]
    assert offsets(take(world, taken.target, wanted=1, busy=busy)) == [4]


@pytest.mark.parametrize("busy", [True, False])
def test_where_none_fits_nothing_is_taken(world: World, busy: bool) -> None:
    seen = take(world, wanted=10).target
    before = world.ledger_dump()
    assert take(world, seen, wanted=10, patience=0, busy=busy).times == []
    assert take(world, seen, patience=-10 * MINUTE, busy=busy).times == []
    assert world.ledger_dump() == before


@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize("patience", [-10 * MINUTE, 0, MINUTE])
def test_what_is_known_of_the_breaker_stays_known(world: World, busy: bool, patience: int) -> None:
    opened(world)
    world.wire.reset()
    for seen in (state(world), TargetRecord(NAME)):
        after = take(world, seen, patience=patience, busy=busy).target
        if writes(world):
            assert (after.epoch, after.open_until) == (1, DUE + 60 * SECOND)
    assert take(world, state(world), patience=-10 * MINUTE).target == state(world)


# --- races ---


@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize("seen_before", [True, False], ids=["in use", "never used"])
def test_another_worker_that_wrote_in_between_keeps_its_slots(world: World, busy: bool, seen_before: bool) -> None:
    seen = take(world, wanted=10).target if seen_before else None
    others: list[Taken] = []
    meanwhile(world, lambda: others.append(take(world, seen, wanted=12)))
    mine = take(world, seen, wanted=12, busy=busy)
    world.wire.heal()
    at_once = 0 if seen_before else 10
    both = [*offsets(others[0]), *offsets(mine)]
    assert both == [0] * at_once + list(range(1, 25 - at_once))


def test_who_loses_every_race_takes_none(world: World) -> None:
    seen = take(world, wanted=10).target
    meanwhile(world, lambda: take(world, state(world), wanted=1, busy=True), times=2 * targets.MOST_RACES)
    assert take(world, seen, patience=2 * INTERVAL, wanted=10).times == []


@pytest.mark.parametrize("seed", range(8))
def test_no_two_takers_have_a_slot_in_common_and_no_window_is_too_full(world: World, seed: int) -> None:
    """Takers with views of any age, of whom some are overtaken by others between their read and their write."""
    chance = random.Random(seed)  # noqa: S311
    rate = Rate.per_second(10, burst=chance.choice([1, 3, 10]))
    seen, now = [TargetRecord(NAME)], NOW
    times: list[int] = []

    def one(*, nested: bool = False) -> None:
        if not nested and chance.random() < 0.3:
            meanwhile(world, lambda: one(nested=True), times=chance.randint(1, 3))
        wanted, patience = chance.randint(1, 10), chance.choice([0, 200_000, MINUTE])
        taken = take(
            world, chance.choice(seen), wanted, now=now, patience=patience, rate=rate, busy=chance.random() < 0.5
        )
        if not nested:
            world.wire.heal()
        seen.append(taken.target)
        times.extend(taken.times)

    for _ in range(25):
        one()
        now += chance.choice([0, 0, 50_000, 400_000, 5_000_000])
    times.sort()
    for window in (1, INTERVAL, 1_000_000, 7_000_000):
        fullest = max(sum(first <= time < first + window for time in times) for first in times)
        assert fullest <= rate.most_at_once + window / INTERVAL


@pytest.mark.parametrize("busy", [True, False])
def test_a_write_that_is_made_twice_wastes_slots_and_never_doubles_one(world: World, busy: bool) -> None:
    first = take(world, wanted=10)
    with world.wire.twice(most=1):
        second = take(world, first.target, busy=busy)
    third = take(world, second.target, busy=busy)
    found = [*offsets(second), *offsets(third)]
    assert len(found) == len(set(found)) == 8
    assert min(found) >= 1


# --- its breaker ---

BREAKER = Breaker(failures=10, pause=60 * SECOND)


def note(world: World, seen: TargetRecord, failures: int, now: datetime = DUE) -> TargetRecord:
    return targets.note_failures(world.ledger, seen, BREAKER, failures, now, "HTTP 503")


def opened(world: World) -> TargetRecord:
    return targets.open_breaker(world.ledger, state(world), BREAKER, DUE, "HTTP 503")


def trying(world: World, owner: str = "a", now: datetime = DUE + 60 * SECOND) -> TargetRecord:
    return targets.lease_try(world.ledger, state(world), owner, now, 25 * SECOND)


def test_failures_in_a_row_open_it_once_there_are_enough(world: World) -> None:
    assert note(world, state(world), 3).open_until is None
    assert note(world, state(world), 6).open_until is None
    after = note(world, state(world), 1)
    assert (after.open_until, after.opened_at, after.epoch) == (DUE + BREAKER.pause, DUE, 1)
    assert (after.failures, after.reason) == (0, "HTTP 503")
    assert after == state(world)


def test_a_success_between_begins_the_row_anew(world: World) -> None:
    note(world, state(world), 9)
    assert targets.forget_failures(world.ledger, state(world)).failures == 0
    assert note(world, state(world), 9).open_until is None


@pytest.mark.parametrize("seen", ["before it opened", "while it was open"])
def test_what_is_reported_of_an_old_epoch_counts_for_nothing(world: World, seen: str) -> None:
    before = state(world)
    during = opened(world)
    trying(world)
    targets.close_breaker(world.ledger, state(world), "a")
    old = before if seen == "before it opened" else during
    dump = world.ledger_dump()
    assert note(world, old, 50) == state(world)
    assert targets.open_breaker(world.ledger, old, BREAKER, DUE, "late") == state(world)
    assert targets.forget_failures(world.ledger, old) == state(world)
    assert world.ledger_dump() == dump


def test_an_open_breaker_is_not_opened_again(world: World) -> None:
    after = opened(world)
    again = targets.open_breaker(world.ledger, after, BREAKER, DUE + 30 * SECOND, "later")
    assert again == after
    assert note(world, after, 50) == after


@pytest.mark.parametrize("seconds", [0, 59])
def test_nobody_tries_before_the_pause_is_over(world: World, seconds: int) -> None:
    opened(world)
    assert trying(world, now=DUE + seconds * SECOND).trier is None


def test_one_of_two_tries(world: World) -> None:
    seen = opened(world)
    over = DUE + 60 * SECOND
    first = targets.lease_try(world.ledger, seen, "a", over, 25 * SECOND)
    second = targets.lease_try(world.ledger, seen, "b", over, 25 * SECOND)
    assert (first.trier, second.trier) == ("a", "a")


def test_who_dies_trying_is_followed_by_another_once_its_lease_is_over(world: World) -> None:
    opened(world)
    trying(world)
    assert trying(world, "b", DUE + 84 * SECOND).trier == "a"
    assert trying(world, "b", DUE + 85 * SECOND).trier == "b"


def test_who_made_no_call_lets_another_try_at_once(world: World) -> None:
    opened(world)
    targets.give_up_try(world.ledger, trying(world), "a")
    assert trying(world, "b").trier == "b"


def test_a_try_that_went_well_closes_it(world: World) -> None:
    opened(world)
    after = targets.close_breaker(world.ledger, trying(world), "a")
    assert after == TargetRecord(NAME, epoch=2)
    assert after == state(world)


def test_each_try_in_vain_doubles_the_pause(world: World) -> None:
    opened(world)
    now, pauses, after = DUE, [], state(world)
    for _ in range(6):
        now = after.open_until or now
        after = targets.reopen_breaker(world.ledger, trying(world, now=now), BREAKER, "a", now, "HTTP 502")
        assert after.open_until is not None
        pauses.append((after.open_until - now) // SECOND)
    assert pauses == [120, 240, 480, 900, 900, 900]
    assert (after.epoch, after.trier, after.reason, after.opened_at) == (7, None, "HTTP 502", DUE)


def test_after_it_was_closed_the_pause_is_short_again(world: World) -> None:
    opened(world)
    targets.reopen_breaker(world.ledger, trying(world), BREAKER, "a", DUE + 60 * SECOND, "HTTP 502")
    targets.close_breaker(world.ledger, trying(world, now=DUE + 180 * SECOND), "a")
    assert opened(world).open_until == DUE + 60 * SECOND
    after = targets.reopen_breaker(world.ledger, trying(world), BREAKER, "a", DUE + 60 * SECOND, "HTTP 502")
    assert after.open_until == DUE + 180 * SECOND


After = Callable[[World, TargetRecord, str], object]


@pytest.mark.parametrize(
    "write",
    [
        lambda world, seen, owner: targets.close_breaker(world.ledger, seen, owner),
        lambda world, seen, owner: targets.reopen_breaker(world.ledger, seen, BREAKER, owner, DUE, "late"),
        lambda world, seen, owner: targets.give_up_try(world.ledger, seen, owner),
    ],
    ids=["close", "reopen", "give up"],
)
@pytest.mark.parametrize("who", ["another", "one whose lease was taken over", "one of an earlier epoch"])
def test_only_who_tries_moves_it(world: World, write: After, who: str) -> None:
    opened(world)
    seen = trying(world)
    if who == "one whose lease was taken over":
        trying(world, "b", DUE + 120 * SECOND)
    elif who == "one of an earlier epoch":
        targets.reopen_breaker(world.ledger, seen, BREAKER, "a", DUE + 60 * SECOND, "HTTP 502")
        trying(world, "a", DUE + 180 * SECOND)
    before = world.ledger_dump()
    write(world, seen, "b" if who == "another" else "a")
    assert world.ledger_dump() == before


def test_writes_of_the_breaker_may_be_made_twice(world: World) -> None:
    with world.wire.twice():
        after = targets.open_breaker(world.ledger, TargetRecord(NAME), BREAKER, DUE, "HTTP 503")
        assert (after.epoch, after.opened_at) == (1, DUE)
        after = targets.lease_try(world.ledger, after, "a", DUE + 60 * SECOND, 25 * SECOND)
        assert after.trier == "a"
        after = targets.reopen_breaker(world.ledger, after, BREAKER, "a", DUE + 60 * SECOND, "HTTP 502")
        assert (after.epoch, after.failed_tries) == (2, 1)
        after = targets.lease_try(world.ledger, after, "a", DUE + 180 * SECOND, 25 * SECOND)
        assert targets.close_breaker(world.ledger, after, "a") == TargetRecord(NAME, epoch=3)


def test_slots_and_breaker_do_not_touch_each_other(world: World) -> None:
    taken = take(world, wanted=10)
    after = opened(world)
    assert after.free == taken.target.free
    targets.hold_until(world.ledger, after, NOW + MINUTE)
    trying(world)
    closed = targets.close_breaker(world.ledger, state(world), "a")
    assert (closed.free, closed.held_until) == (taken.target.free, NOW + MINUTE)
