"""Fan-out dies at every one of its requests, once before the request and once before the answer."""

from contextlib import suppress

import pytest

from rollcall import Entry
from rollcall.core.actions import Action
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunState
from tests.functional.wire import Killed
from tests.functional.world import DUE, LEASE, RUN, World, a_job, entries, keys

#: Seven entries and an invalid one, in two chunks.
REPORT = [*entries(4), Entry(None, {}), *entries(7)[4:]]
REQUESTS = 20


def expected_of(world: World) -> None:
    """The run is complete, exactly counted, and every entry was called once or more with one key."""
    run = world.run()
    assert run.state is RunState.COMPLETE
    assert world.outcomes() == {Outcome.SUCCEEDED: 7, Outcome.REJECTED: 1}
    assert world.events.count(Action.RUN_COMPLETE) == 1
    assert sorted(world.target.times()) == keys(7)
    assert len({call.idempotency_key for call in world.target.calls}) == 7


def test_a_run_makes_no_more_requests_than_these_stories_kill(world: World) -> None:
    world.report = REPORT
    world.start()
    assert len(world.wire.sent) <= REQUESTS


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("number", range(1, REQUESTS + 1))
def test_a_fan_out_that_dies_is_taken_over_and_loses_and_doubles_nothing(world: World, number: int, lost: str) -> None:
    world.report = REPORT
    (world.wire.kill_before if lost == "request" else world.wire.kill_after)(number)
    died = True
    with suppress(Killed):
        world.start()
        died = False
    world.wire.heal()
    before = world.ledger.run(RUN)
    sent_by_the_dead = {message.index for message, _ in world.sent()}
    if before is not None and died:
        assert world.resume() is None, "the dead one's lease is live"
    world.later(LEASE)
    world.wire.sent.clear()
    world.start(DUE)  # the scheduler, or Lambda, delivers it again
    if before is not None and before.nonce is not None:
        in_doubt = range(before.checkpoint, before.window_end)
        assert all(marked == (message.index in in_doubt) for message, marked in world.sent())
        assert sent_by_the_dead <= {*range(before.checkpoint), *in_doubt}
    else:
        assert not any(marked for _, marked in world.sent())
        assert not sent_by_the_dead
    world.drain()
    expected_of(world)


@pytest.mark.parametrize("number", range(1, 22, 2))
def test_a_top_up_that_dies_loses_and_doubles_nothing_either(world: World, number: int) -> None:
    world.declare(a_job(window=5))
    world.report = REPORT
    world.start()
    world.drain()
    checkpoint = world.run().checkpoint
    world.wire.kill_after(number)
    with suppress(Killed):
        world.resume()
    world.wire.heal()
    world.later(LEASE)
    world.wire.sent.clear()
    for _ in range(4):
        world.resume()
        world.drain()
    assert all(message.index >= checkpoint for message, _ in world.sent())
    expected_of(world)


def test_every_write_to_the_ledger_may_be_made_twice(world: World) -> None:
    """As the SDK does whose first answer was lost: fan-out and workers count the same."""
    with world.wire.twice("dynamodb"):
        world.report = REPORT
        run = world.start()
        assert run is not None
        assert run.state is RunState.RUNNING
        world.target.script("D03", 400)
        world.target.script("D05", 503)
        world.drain()
    assert world.run().state is RunState.COMPLETE
    assert world.outcomes() == {Outcome.SUCCEEDED: 6, Outcome.REJECTED: 2}
    assert world.target.times()["D05"] == 2
    assert world.events.count(Action.ENTRY_SUPERSEDED) == 0
