"""Batches that take long, or whose target cannot be written: looked after until their last call."""
# ruff: noqa: ARG001 - a callback takes a payload and a call, whichever of them a story needs

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rollcall import Breaker, Call, Outcome, Rate, Response
from rollcall.adapters.ledger import runs, targets
from rollcall.adapters.ledger.records import run_key
from rollcall.adapters.ledger.update import Update
from rollcall.core.actions import Action
from rollcall.core.call import Request
from rollcall.core.run import RunState
from tests.functional.wire import Sent
from tests.functional.workers import PAUSE, SECOND, TARGET, fail, ids, opened, state, writes_to_target
from tests.functional.world import DUE, NAME, RUN, World, a_job, keys

Send = Callable[[Request], Awaitable[Response]]


# --- paused, cancelled ---


def test_a_paused_job_holds_what_it_receives(world: World) -> None:
    world.begin(3)
    runs.pause(world.ledger, NAME, world.clock.now())
    batch = world.batch(0, 1, 2)
    assert set(world.work(batch)) == set(ids(batch))
    assert world.target.calls == []
    assert world.chunk().held == {0, 1, 2}
    assert all(30 <= world.waits()[record["receiptHandle"]] <= 60 for record in batch)
    runs.resume(world.ledger, NAME)
    assert world.work(world.batch(0, 1, 2, receives=2)) == []


def paced(world: World, at: str, act: Callable[[], object]) -> None:
    """A batch whose calls are ten seconds apart; `act` happens in the call of `at`."""

    async def callback(deposit: Any, call: Call) -> None:
        if call.key == at:
            act()
        await call.http.put(f"/deposits/{call.key}")

    world.declare(a_job(rate=Rate.per_minute(6)), callback)
    world.begin(6)


def test_a_paced_batch_is_called_at_the_rate_and_costs_one_write(world: World) -> None:
    paced(world, "nobody", lambda: None)
    assert world.work(world.batch(*range(6))) == []
    assert [call.at - DUE for call in world.target.calls] == [10 * SECOND * number for number in range(6)]
    assert writes_to_target(world) == 1


def test_a_run_that_is_cancelled_in_the_middle_of_a_paced_batch_calls_nobody_any_more(world: World) -> None:
    paced(world, "D02", lambda: Update().set(state="cancelling").send(world.clients.dynamodb, "ledger", run_key(RUN)))
    assert world.work(world.batch(*range(6))) == []
    assert world.target.keys == keys(3)
    assert world.outcomes() == {Outcome.SUCCEEDED: 3, Outcome.CANCELLED: 3}
    assert world.run().state is RunState.CANCELLED


def test_a_job_that_is_paused_in_the_middle_of_a_paced_batch_calls_nobody_any_more(world: World) -> None:
    paced(world, "D02", lambda: runs.pause(world.ledger, NAME, world.clock.now()))
    assert len(world.work(world.batch(*range(6)))) == 3
    assert world.target.keys == keys(3)


def test_a_breaker_that_another_opens_in_the_middle_of_a_paced_batch_stops_it(world: World) -> None:
    paced(world, "D02", lambda: targets.open_breaker(world.ledger, state(world), Breaker(), DUE, "HTTP 503"))
    assert len(world.work(world.batch(*range(6)))) == 3
    assert world.target.keys == keys(3)


def test_what_has_no_slot_in_time_is_held_and_told_when_to_come(world: World) -> None:
    world.declare(a_job(rate=Rate.per_minute(6)))
    world.begin(10)
    batch = world.batch(*range(6))
    returned = set(world.work(batch, time=40 * SECOND))
    assert returned == set(ids(batch[3:]))
    assert world.target.keys == keys(3)
    assert world.chunk().held == {3, 4}
    assert [world.waits()[record["receiptHandle"]] for record in batch[3:]] == [30, 40, 50]
    assert world.events.of(Action.ENTRY_HELD)[0]["reason"] == "rate"


# --- the ledger fails ---


def throttled(sent: Sent) -> None:
    """TARGET takes no writes."""
    if sent.operation == "UpdateItem" and sent.key == TARGET:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "UpdateItem")


def test_a_breaker_that_cannot_be_told_loses_no_entry(world: World) -> None:
    world.begin(12)
    fail(world, *range(9))
    batch = world.batch(*range(10))
    world.wire.before = throttled
    assert set(world.work(batch)) == set(ids(batch[:9]))
    world.wire.heal()
    assert world.outcome(9) is Outcome.SUCCEEDED
    assert world.chunk().attempts == dict.fromkeys(range(5), 1)
    fail(world, *range(10), answer=200)
    assert world.work(world.batch(*range(9), receives=2)) == []


def test_a_breaker_that_cannot_be_tried_returns_its_entries_uncalled(world: World) -> None:
    opened(world)
    world.later(PAUSE)
    world.wire.before = throttled
    batch = world.batch(*range(10))
    assert set(world.work(batch)) == set(ids(batch))
    assert world.target.calls == []
    world.wire.heal()
    assert world.chunk().held == set(range(5))
    assert world.work(world.batch(*range(10), receives=2)) == []


def test_a_breaker_that_cannot_be_closed_settles_the_entry_that_tried_and_holds_the_others(world: World) -> None:
    opened(world)
    world.later(PAUSE)

    def before(sent: Sent) -> None:
        if world.target.calls:
            throttled(sent)

    world.wire.before = before
    batch = world.batch(*range(10))
    assert len(world.work(batch)) == 9
    world.wire.heal()
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}
    world.later(timedelta(minutes=1))
    left = [index for index in range(10) if world.outcome(index) is None]
    assert world.work(world.batch(*left, receives=2)) == []


@pytest.mark.parametrize("number", [0, 1, 4])
def test_slots_that_cannot_be_taken_return_their_entries_and_no_others(world: World, number: int) -> None:
    """The rate is so slow for this worker that each entry takes a slot of its own."""
    world.declare(a_job(keys=None, rate=Rate.per_minute(6)))
    world.begin(6)

    def before(sent: Sent) -> None:
        if len(world.target.calls) >= number:
            throttled(sent)

    world.wire.before = before
    batch = world.batch(*range(6))
    assert set(world.work(batch)) == set(ids(batch[number:]))
    world.wire.heal()
    assert world.target.keys == keys(number)
    assert world.outcomes() == ({Outcome.SUCCEEDED: number} if number else {})
    assert world.work(world.batch(*range(number, 6), receives=2)) == []
    assert world.target.times() == dict.fromkeys(keys(6), 1)


def test_control_that_cannot_be_read_again_returns_the_rest_of_a_long_batch(world: World) -> None:
    def refuse(sent: Sent) -> None:
        if sent.operation == "BatchGetItem":
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "BatchGetItem")

    def act() -> None:
        world.wire.before = refuse

    paced(world, "D02", act)
    batch = world.batch(*range(6))
    assert set(world.work(batch)) == set(ids(batch[3:]))
    world.wire.heal()
    assert world.outcomes() == {Outcome.SUCCEEDED: 3}
