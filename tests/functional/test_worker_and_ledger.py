"""A worker whose ledger or queue cannot be written: what is not noted stays on the queue."""

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from rollcall import Outcome
from rollcall.adapters.ledger.records import entry_key
from rollcall.core.actions import Action
from rollcall.core.entry import entry_id
from rollcall.core.run import RunState
from tests.functional.wire import Sent
from tests.functional.workers import ids, make_suspect, throttled
from tests.functional.world import RUN, World, keys

pytestmark = pytest.mark.on_moto


def test_a_chunk_that_cannot_be_written_keeps_its_messages_and_no_others(world: World) -> None:
    world.begin(10)
    batch = world.batch(*range(10))
    world.wire.before = throttled(f"node#{RUN}#1#0#1")
    assert set(world.work(batch)) == set(ids(batch[5:]))
    assert world.events.count(Action.ENTRY_RETURNED) == 1
    world.wire.heal()
    assert world.outcomes() == {Outcome.SUCCEEDED: 5}
    assert world.work(world.batch(*range(5, 10), receives=2)) == []
    assert world.run().state is RunState.COMPLETE


def once(refuse: Callable[[Sent], None], key: str) -> Callable[[Sent], None]:
    """Refuse the first write of an item only."""
    made = 0

    def before(sent: Sent) -> None:
        nonlocal made
        if sent.operation == "UpdateItem" and sent.key == key:
            made += 1
            if made == 1:
                refuse(sent)

    return before


@pytest.mark.parametrize("always", [True, False], ids=["for good", "once"])
def test_a_chunk_that_cannot_be_begun_keeps_its_entries_uncalled_and_no_others(world: World, always: bool) -> None:
    world.begin(10)
    batch = world.batch(*range(10), receives=2)
    refused = f"node#{RUN}#1#0#1"
    world.wire.before = throttled(refused) if always else once(throttled(refused), refused)
    assert set(world.work(batch)) == set(ids(batch[5:]))
    world.wire.heal()
    assert world.target.times() == dict.fromkeys(keys(5), 1)
    assert world.outcomes() == {Outcome.SUCCEEDED: 5}
    assert world.events.count(Action.ENTRY_RETURNED) == 1
    assert world.work(world.batch(*range(5, 10), receives=3)) == []
    assert world.run().state is RunState.COMPLETE


def test_a_chunk_that_cannot_be_begun_does_not_clear_its_entries_of_an_older_doubt(world: World) -> None:
    """A worker may have died with it; what the ledger knows of that could not be read."""
    world.begin(1)
    world.target.script("D00", then=503)
    chunk = f"node#{RUN}#1#0#0"
    world.wire.before = once(throttled(chunk), chunk)
    world.work(world.batch(0, receives=2))
    world.wire.heal()
    assert world.target.calls == []
    for receives in range(3, 7):
        world.work(world.batch(0, receives=receives))
    assert len(world.target.calls) == 4
    assert world.outcome(0) is Outcome.UNKNOWN


def test_a_rejection_whose_reason_cannot_be_kept_is_not_settled(world: World) -> None:
    world.begin(3)
    world.target.script("D01", then=400)
    batch = world.batch(0, 1, 2)
    world.wire.before = throttled(entry_key(RUN, entry_id("D01", 1)))
    assert set(world.work(batch)) == set(ids(batch))
    world.wire.heal()
    world.work(world.batch(0, 1, 2, receives=2))
    assert world.outcomes() == {Outcome.SUCCEEDED: 2, Outcome.REJECTED: 1}


def test_a_message_that_cannot_be_put_off_stays_and_its_neighbours_are_answered_for(world: World) -> None:
    def before(sent: Sent) -> None:
        if sent.operation == "ChangeMessageVisibilityBatch":
            raise ClientError({"Error": {"Code": "RequestThrottled", "Message": "slow down"}}, sent.operation)

    world.begin(3)
    world.target.script("D01", 503)
    world.wire.before = before
    batch = world.batch(0, 1, 2)
    assert world.work(batch) == [batch[1]["messageId"]]
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}


def test_a_suspect_that_cannot_be_noted_is_returned_uncalled_and_its_neighbours_are_answered_for(world: World) -> None:
    world.begin(10)
    make_suspect(world, 0)
    made = 0

    def before(sent: Sent) -> None:
        nonlocal made
        if sent.operation == "UpdateItem" and sent.key == f"node#{RUN}#1#0#0":
            made += 1
            if made > 1:  # the first one begins
                throttled(sent.key)(sent)

    world.target.calls.clear()
    batch = [*world.batch(0, receives=3), *world.batch(5, 6)]
    world.wire.before = before
    assert world.work(batch) == [batch[0]["messageId"]]
    world.wire.heal()
    assert world.target.times() == {"D05": 1, "D06": 1}
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}
