"""Entries that take their worker down: they are found out, and end by themselves."""
# ruff: noqa: ARG001 - a callback takes a payload and a call, whichever of them a story needs

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from rollcall import Call, Outcome
from rollcall.core.actions import Action
from rollcall.core.run import RunState
from tests.functional.workers import (
    WorkerKilled,
    ids,
    killed_by,
    make_suspect,
    waits,
)
from tests.functional.world import Called, World, a_job


def poisoned(world: World, *poison: str) -> Callable[[Any, Call], Awaitable[None]]:
    """A callback that takes its worker down for these keys."""

    async def callback(deposit: Any, call: Call) -> None:
        if call.key in poison:
            world.target.calls.append(Called(call.key, call.idempotency_key, world.clock.now()))
            raise WorkerKilled
        await call.http.put(f"/deposits/{call.key}")

    return callback


def deliver_until_settled(world: World, *indexes: int) -> int:
    """Redeliver what is not settled, as SQS does after the visibility timeout; returns the number of receives."""
    for receives in range(1, 30):
        left = [index for index in indexes if world.outcome(index) is None]
        if not left:
            return receives - 1
        try:
            world.work(world.batch(*left, receives=receives))
        except WorkerKilled:
            world.later(timedelta(minutes=3))
    raise AssertionError("they are never settled")


def test_an_entry_that_is_redelivered_is_noted_as_begun_before_it_is_called(world: World) -> None:
    begun: list[frozenset[int]] = []

    async def look(deposit: Any, call: Call) -> None:
        begun.append(world.chunk().begun)

    world.declare(a_job(), look)
    world.begin(2)
    world.work(world.batch(0))
    world.work(world.batch(1, receives=2))
    assert begun == [frozenset(), {1}]
    assert world.chunk().begun == frozenset()


def test_an_entry_that_kills_its_worker_ends_unknown_and_its_neighbours_are_settled(world: World) -> None:
    world.declare(a_job())
    world.begin(5)
    world.job._callback = poisoned(world, "D02")
    deliver_until_settled(world, *range(5))
    assert world.outcomes() == {Outcome.SUCCEEDED: 4, Outcome.UNKNOWN: 1}
    assert world.outcome(2) is Outcome.UNKNOWN
    assert world.entry("D02", 2)["g1_unknown"]["error"] == "worker_died"
    assert world.run().state is RunState.COMPLETE
    assert world.target.times()["D02"] == 2 + 4


def test_two_that_kill_their_workers_do_not_hide_behind_each_other(world: World) -> None:
    world.declare(a_job())
    world.begin(5)
    world.job._callback = poisoned(world, "D01", "D03")
    deliver_until_settled(world, *range(5))
    assert world.outcomes() == {Outcome.SUCCEEDED: 3, Outcome.UNKNOWN: 2}


def test_suspects_are_called_alone_one_after_another_each_settled_before_the_next(world: World) -> None:
    world.begin(5)
    make_suspect(world, 0, 1, 2)
    under_way: list[str] = []
    settled_by_then: list[set[int]] = []

    async def alone(deposit: Any, call: Call) -> None:
        assert under_way == []
        under_way.append(call.key)
        settled_by_then.append(set(world.chunk().settled))
        await asyncio.sleep(0.01)
        under_way.remove(call.key)

    world.job._callback = alone
    world.work([*world.batch(0, 1, 2, receives=3), *world.batch(3)])
    assert settled_by_then == [set(), {3}, {3, 0}, {3, 0, 1}]
    assert world.events.count(Action.ENTRY_SUSPECT) == 3


def test_a_suspects_attempt_is_used_up_before_its_call(world: World) -> None:
    world.begin(1)
    make_suspect(world, 0)
    seen: list[int] = []

    async def look(deposit: Any, call: Call) -> None:
        seen.append(world.chunk().attempts[0])

    world.job._callback = look
    world.work(world.batch(0, receives=3))
    assert seen == [1]


def test_a_suspect_that_is_answered_badly_goes_on_with_its_attempts(world: World) -> None:
    world.begin(1)
    make_suspect(world, 0)
    world.target.calls.clear()
    world.target.script("D00", then=503)
    batch = world.batch(0, receives=3)
    assert world.work(batch) == ids(batch)
    assert waits(world, batch) == [2]
    for receives in range(4, 7):
        world.work(world.batch(0, receives=receives))
    assert len(world.target.calls) == 4
    assert world.outcome(0) is Outcome.UNKNOWN


def test_a_suspect_whose_last_attempt_is_answered_badly_ends_unknown_for_the_call_that_was_not(world: World) -> None:
    world.begin(1)
    world.target.script("D00", 503, 503, 503, WorkerKilled(), then=503)
    for receives in range(1, 4):
        world.work(world.batch(0, receives=receives))
    killed_by(world, world.batch(0, receives=4))
    assert world.work(world.batch(0, receives=5)) == []
    assert world.outcome(0) is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("plain", "error"),
    [
        (True, SystemExit(3)),
        (True, StopIteration()),
        (False, SystemExit(3)),
        (False, StopIteration()),
        (False, asyncio.CancelledError()),
    ],
    ids=repr,
)
def test_a_callback_that_wants_to_end_the_process_is_an_error_of_its_entry_alone(
    world: World, plain: bool, error: BaseException
) -> None:
    def exits(deposit: Any, call: Call) -> None:
        if call.key == "D01":
            raise error

    async def exits_too(deposit: Any, call: Call) -> None:
        exits(deposit, call)

    world.declare(a_job(timeout=timedelta(seconds=5)), exits if plain else exits_too)
    world.begin(3)
    began = time.monotonic()
    batch = world.batch(0, 1, 2)
    assert world.work(batch) == [batch[1]["messageId"]]
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}
    assert time.monotonic() - began < 4
    assert world.events.of(Action.ENTRY_RETRY)[0]["error"].startswith("error_")
