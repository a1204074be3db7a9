"""The gate before the target: shut while its breaker is open, and then nobody pays for waiting."""
# ruff: noqa: ARG001 - a callback takes a payload and a call, whichever of them a story needs

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from rollcall import Breaker, Call, Outcome, Rate, Response
from rollcall.adapters.ledger import targets
from rollcall.core.actions import Action
from rollcall.core.call import Request
from rollcall.core.run import TargetRecord
from tests.functional.workers import PAUSE, SECOND, fail, ids, opened, state, writes_to_target
from tests.functional.world import DUE, World, a_job, keys

Send = Callable[[Request], Awaitable[Response]]


def begin_one_at_a_time(world: World, number: int, **options: Any) -> None:
    """A run whose entries are called in their order, one after another."""
    world.declare(a_job(concurrency=2, **options))
    world.begin(number)


# --- opening ---


def test_failures_in_a_row_open_it(world: World) -> None:
    world.begin(20)
    fail(world, *range(10))
    world.work(world.batch(*range(10)))
    target = state(world)
    assert (target.epoch, target.open_until, target.failures) == (1, DUE + PAUSE, 0)
    (event,) = world.events.of(Action.BREAKER_OPENED)
    assert event["target"] == "accounting"
    assert event["error"] == "http_503"


def test_one_failure_less_does_not(world: World) -> None:
    world.begin(20)
    fail(world, *range(9))
    world.work(world.batch(*range(9)))
    assert (state(world).open_until, state(world).failures) == (None, 9)


def test_failures_of_several_workers_make_a_row(world: World) -> None:
    world.begin(20)
    fail(world, *range(12))
    for first in (0, 4, 8):
        assert state(world).open_until is None
        world.work(world.batch(*range(first, first + 4)))
    assert state(world).open_until == DUE + PAUSE


def test_single_failures_of_one_worker_make_a_row_too(world: World) -> None:
    world.begin(12)
    fail(world, *range(10))
    worker = world.worker()
    for index in range(10):
        assert state(world).open_until is None
        world.work(world.batch(index), worker=worker)
    assert state(world).open_until == DUE + PAUSE


def test_what_is_left_of_a_batch_is_not_called_once_enough_of_it_failed(world: World) -> None:
    begin_one_at_a_time(world, 10, breaker=Breaker(failures=4))
    fail(world, *range(10))
    batch = world.batch(*range(10))
    assert set(world.work(batch)) == set(ids(batch))
    assert world.target.keys == keys(4)
    assert state(world).open_until is not None


def test_noise_writes_nothing(world: World) -> None:
    """One call in a hundred fails, as ever."""
    world.begin(200)
    for key in ("D37", "D38", "D99", "D150"):
        world.target.script(key, 503)
    workers = [world.worker() for _ in range(2)]
    for first in range(0, 200, 10):
        world.work(world.batch(*range(first, first + 10)), worker=workers[first // 10 % 2])
    assert writes_to_target(world) == 0


def test_a_success_between_begins_the_row_anew(world: World) -> None:
    world.begin(30)
    fail(world, *range(9), *range(10, 19))
    for first in (0, 10):
        world.work(world.batch(*range(first, first + 9)))
        assert state(world).failures == 9
        world.work(world.batch(first + 9))
        assert state(world).failures == 0
    assert state(world).open_until is None


def test_a_success_within_a_worker_begins_its_row_anew(world: World) -> None:
    begin_one_at_a_time(world, 9, breaker=Breaker(failures=5))
    fail(world, 0, 1, 2, 3, 5, 6, 7, 8)
    world.work(world.batch(*range(9)))
    assert (state(world).open_until, state(world).failures) == (None, 4)


def test_a_rejection_is_a_sign_of_health(world: World) -> None:
    begin_one_at_a_time(world, 9, breaker=Breaker(failures=5))
    fail(world, 0, 1, 2, 3, 5, 6, 7, 8)
    fail(world, 4, answer=422)
    world.work(world.batch(*range(9)))
    assert world.outcomes() == {Outcome.REJECTED: 1}
    assert (state(world).open_until, state(world).failures) == (None, 4)


@pytest.mark.parametrize("batch", ["settled before", "a bug"])
def test_a_batch_that_says_nothing_of_the_target_does_not_begin_the_row_anew(world: World, batch: str) -> None:
    world.begin(20)
    world.work(world.batch(19))
    fail(world, *range(9))
    world.work(world.batch(*range(9)))
    world.target.script("D18", KeyError("bug"))
    world.work(world.batch(19, receives=2) if batch == "settled before" else world.batch(18))
    assert state(world).failures == 9


def test_bugs_of_a_callback_never_open_it(world: World) -> None:
    def stumble(deposit: Any, call: Call) -> None:
        raise KeyError("bug")

    world.declare(a_job(), stumble)
    world.begin(20)
    world.drain()
    assert world.outcomes() == {Outcome.FAILED: 20}
    assert writes_to_target(world) == 0


# --- open ---


@pytest.mark.parametrize("receives", [1, 2])
def test_while_it_is_open_everything_is_held_and_nothing_is_called(world: World, receives: int) -> None:
    opened(world)
    batch = world.batch(*range(10), receives=receives)
    assert set(world.work(batch)) == set(ids(batch))
    assert world.target.calls == []
    assert [world.chunk(index).attempts for index in (0, 5)] == [{}, {}]
    assert world.events.of(Action.ENTRY_HELD)[0]["reason"] == "breaker"
    waits = [world.waits()[record["receiptHandle"]] for record in batch]
    assert all(60 <= wait <= 60 + 16 for wait in waits)
    assert len(set(waits)) > 3, "they do not come back all at once"


def test_what_is_held_is_noted_and_has_used_up_no_attempt(world: World) -> None:
    opened(world, entries=1)
    world.work(world.batch(0))
    assert world.chunk().held == {0}
    targets.lease_try(world.ledger, state(world), "a", DUE + PAUSE, SECOND)
    targets.close_breaker(world.ledger, state(world), "a")
    world.target.script("D00", then=503)
    for receives in range(2, 6):
        world.work(world.batch(0, receives=receives))
    assert len(world.target.calls) == 4
    assert world.outcome(0) is Outcome.FAILED


def test_the_longer_it_has_been_open_the_wider_the_held_are_spread(world: World) -> None:
    opened(world)
    target, tries = state(world), 0
    while target.open_until is not None and tries < 5:
        world.clock.set(target.open_until)
        target = targets.lease_try(world.ledger, target, "a", world.clock.now(), SECOND)
        target = targets.reopen_breaker(world.ledger, target, Breaker(), "a", world.clock.now(), "HTTP 503")
        tries += 1
    batch = world.batch(*range(10))
    world.work(batch)
    waits = [world.waits()[record["receiptHandle"]] for record in batch]
    assert max(waits) <= 15 * 60


# --- half open ---


def test_one_call_tries_and_if_it_succeeds_the_rest_of_its_batch_is_called(world: World) -> None:
    opened(world)
    world.later(PAUSE)
    assert world.work(world.batch(*range(10))) == []
    assert world.outcomes() == {Outcome.SUCCEEDED: 10}
    assert (state(world).epoch, state(world).open_until) == (2, None)
    assert world.events.count(Action.BREAKER_CLOSED) == 1


def test_one_call_tries_and_if_it_fails_the_pause_is_doubled(world: World) -> None:
    opened(world)
    world.later(PAUSE)
    fail(world, *range(10))
    batch = world.batch(*range(10))
    assert set(world.work(batch)) == set(ids(batch))
    assert len(world.target.calls) == 1
    assert state(world).open_until == DUE + PAUSE + 2 * PAUSE
    assert sum(len(world.chunk(index).held) for index in (0, 5)) == 10


def test_tries_in_turn_use_up_no_entrys_attempts(world: World) -> None:
    opened(world, entries=3)
    fail(world, *range(3))
    for receives in range(1, 20):
        world.clock.set(state(world).open_until or DUE)
        world.work(world.batch(0, 1, 2, receives=receives))
    tried = world.target.keys
    assert len(tried) == 19
    assert all(key != before for key, before in pairwise(tried))
    assert world.chunk().attempts == {}
    assert world.outcomes() == {}


def test_a_try_by_the_only_entry_that_is_left_is_an_attempt_like_any_other(world: World) -> None:
    """Else a run of one bad entry would never end."""
    opened(world, entries=1)
    fail(world, 0)
    for receives in range(1, 6):
        world.clock.set(state(world).open_until or DUE)
        world.work(world.batch(0, receives=receives))
    assert world.outcomes() == {Outcome.FAILED: 1}
    assert world.target.times() == {"D00": 5}


def test_of_two_workers_one_tries(world: World) -> None:
    opened(world)
    world.later(PAUSE)
    second = world.batch(10, 11)
    returned: list[str] = []

    async def send(request: Request) -> Response:
        """While the first call is under way, another worker receives a batch."""
        if not returned:
            returned.extend(await world.worker().handle(second, world.clock.now() + timedelta(minutes=5)))
            assert world.target.calls == []
        return await world.target.send(request)

    assert world.work(world.batch(0, 1), worker=world.worker(send)) == []
    assert set(returned) == set(ids(second))
    assert world.target.keys in (["D00", "D01"], ["D01", "D00"])
    put_off = [world.waits()[record["receiptHandle"]] for record in second]
    assert all(1 <= wait <= 5 for wait in put_off)


def test_while_the_one_that_tries_waits_for_its_slot_no_other_tries(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.declare(a_job(rate=Rate.per_minute(1)))
    world.begin(3)
    world.work(world.batch(2))  # takes this minute's slot
    targets.open_breaker(world.ledger, state(world), Breaker(pause=SECOND), world.clock.now(), "HTTP 503")
    world.later(SECOND)
    second, held, wait = world.batch(1), list[str](), world.clock.wait

    async def another_comes(duration: timedelta) -> None:
        if duration > timedelta(0) and not held:
            world.later(45 * SECOND)
            held.extend(await world.worker().handle(second, world.clock.now() + timedelta(minutes=5)))
        await wait(duration - 45 * SECOND)

    monkeypatch.setattr(world.clock, "wait", another_comes)
    assert world.work(world.batch(0)) == []
    assert set(held) == set(ids(second))
    assert world.target.keys == ["D02", "D00"]


def test_a_worker_that_finds_nothing_to_call_lets_another_try(world: World) -> None:
    opened(world)
    world.later(PAUSE)
    world.work(world.batch(0), time=SECOND)
    assert state(world).trier is None
    assert world.work(world.batch(1)) == []


def test_a_settled_entry_is_no_try(world: World) -> None:
    world.begin(20)
    world.work(world.batch(0))
    targets.open_breaker(world.ledger, state(world), Breaker(), DUE, "HTTP 503")
    world.later(PAUSE)
    world.target.calls.clear()
    assert world.work([*world.batch(0, receives=2), *world.batch(1)]) == []
    assert world.target.keys == ["D01"]
    assert state(world).open_until is None


# --- epochs ---


def test_answers_of_calls_that_began_in_an_earlier_epoch_change_nothing(world: World) -> None:
    """In the middle of a long batch somebody else opens the breaker, and closes it again."""

    async def callback(deposit: Any, call: Call) -> None:
        world.later(6 * SECOND)  # whoever comes next reads the ledger again
        if call.key == "D04":
            after = targets.open_breaker(world.ledger, state(world), Breaker(), DUE, "HTTP 503")
            after = targets.lease_try(world.ledger, after, "another", DUE + PAUSE, SECOND)
            targets.close_breaker(world.ledger, after, "another")
        await call.http.put(f"/deposits/{call.key}")

    world.declare(a_job(concurrency=2), callback)
    world.begin(10)
    fail(world, *range(10))
    world.work(world.batch(*range(10)))
    target = state(world)
    assert (target.epoch, target.open_until, target.failures) == (2, None, 5)


def test_a_slow_answer_of_an_earlier_epoch_changes_nothing(world: World) -> None:
    """Two calls at once: while the first is under way, it is closed again, and others have been called since."""
    later_ones_begin = asyncio.Event()

    async def callback(deposit: Any, call: Call) -> None:
        if call.key == "D00":
            await later_ones_begin.wait()
        elif call.key == "D01":
            world.later(6 * SECOND)
            after = targets.open_breaker(world.ledger, state(world), Breaker(), DUE, "HTTP 503")
            after = targets.lease_try(world.ledger, after, "another", DUE + PAUSE, SECOND)
            targets.close_breaker(world.ledger, after, "another")
        elif call.key == "D05":
            later_ones_begin.set()
        await call.http.put(f"/deposits/{call.key}")

    world.declare(a_job(concurrency=4), callback)
    world.begin(8)
    fail(world, *range(8))
    world.work(world.batch(*range(8)))
    target = state(world)
    assert (target.epoch, target.open_until, target.failures) == (2, None, 6)


def test_the_last_answers_of_an_epoch_do_not_open_the_next(world: World) -> None:
    """Ten calls are under way while another worker opens the breaker and closes it."""

    async def send(request: Request) -> Response:
        if state(world).epoch == 0:
            after = targets.open_breaker(world.ledger, state(world), Breaker(), DUE, "HTTP 503")
            after = targets.lease_try(world.ledger, after, "another", DUE + PAUSE, SECOND)
            targets.close_breaker(world.ledger, after, "another")
        return Response(503, {}, b"")

    world.begin(10)
    world.work(world.batch(*range(10)), worker=world.worker(send))
    assert state(world) == TargetRecord("accounting", epoch=2)
