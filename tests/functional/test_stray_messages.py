"""Messages that are no entry of a run under way are dropped without effect; cancelled ones are settled."""

from dataclasses import replace
from typing import Any

import pytest

from rollcall import Outcome
from rollcall.core.actions import Action
from rollcall.core.run import RunState
from tests.functional.workers import TOMORROW
from tests.functional.world import DAY, DUE, NAME, World, delivered


def dropped(world: World, body: Any, reason: str) -> None:
    """The message is taken off the queue, with a line that says why, and nothing is written or called."""
    before = world.ledger_dump()
    world.target.calls.clear()
    assert world.work([delivered(body)]) == []
    (event,) = world.events.of(Action.MESSAGE_DROPPED)
    assert reason in event["reason"]
    assert world.ledger_dump() == before
    assert world.target.calls == []


@pytest.mark.parametrize("body", ["", "not JSON", "[]", "null", "{}", '{"run": 1}', "[" * 100_000], ids=lambda b: b[:9])
def test_what_is_no_message_is_dropped(world: World, body: str) -> None:
    world.begin(2)
    dropped(world, body, "the body is not")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"run": f"{NAME}-20301121T023000Z"}, "its run is not known"),
        ({"run": "another-job-20261121T023000Z"}, "it is of the job another-job"),
        ({"generation": 2}, "generation 2 is not the run's, 1"),
        ({"generation": 0}, "generation 0 is not the run's, 1"),
        ({"index": 7}, "index 7 is outside of the run's 7"),
        ({"index": -1}, "index -1 is outside of the run's 7"),
        ({"total": 8}, "total 8 is not the run's, 7"),
        ({"chunk": 1}, "index 0 is not in chunk 1"),
    ],
    ids=str,
)
def test_a_message_whose_numbers_are_not_the_runs_is_dropped(world: World, fields: dict[str, Any], reason: str) -> None:
    world.begin(7)
    dropped(world, replace(world.message(0), **fields), reason)


def test_a_message_of_a_run_that_is_complete_is_dropped(world: World) -> None:
    world.begin(2)
    world.drain()
    dropped(world, world.message(0), "its run is complete")


def test_a_message_of_a_run_that_was_skipped_is_dropped(world: World) -> None:
    world.begin(2)
    message = replace(world.message(0), run=TOMORROW)
    world.start(DUE + DAY)
    dropped(world, message, "its run is skipped")


def test_a_dropped_message_does_not_keep_its_neighbours_from_being_called(world: World) -> None:
    world.begin(2)
    stale = replace(world.message(0), generation=9)
    assert world.work([delivered("nonsense"), delivered(stale), *world.batch(0, 1)]) == []
    assert world.events.count(Action.MESSAGE_DROPPED) == 2
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}


def test_a_run_that_is_cancelled_settles_what_it_receives_without_calling(world: World) -> None:
    world.begin(2)
    world.tamper(state=RunState.CANCELLING.value)
    assert world.work(world.batch(0, 1)) == []
    assert world.target.calls == []
    assert world.outcomes() == {Outcome.CANCELLED: 2}
    assert world.run().state is RunState.CANCELLED
