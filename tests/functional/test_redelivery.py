"""Messages that come again, twice, or in groups: nothing is counted twice, and the first outcome stands."""
# ruff: noqa: ARG001 - a callback takes a payload and a call, whichever of them a story needs

import asyncio
from typing import Any

import pytest

from rollcall import Call, Entry, Outcome
from rollcall.core.actions import Action
from rollcall.core.run import RunState
from tests.functional.wire import Sent
from tests.functional.workers import (
    TOMORROW,
    TOO_SHORT,
    WorkerKilled,
    ids,
    killed_by,
    make_suspect,
    two_runs,
    waits,
    writes_to_chunks,
)
from tests.functional.world import RUN, World, delivered

# --- redelivery ---


@pytest.mark.parametrize("again", [{"receives": 2}, {"again": True}], ids=["received twice", "marked as sent again"])
def test_a_settled_entry_that_comes_again_is_not_called_again(world: World, again: dict[str, Any]) -> None:
    world.begin(6)
    world.work(world.batch(0, 1))
    assert world.work(world.batch(0, 1, **again)) == []
    assert world.target.times() == {"D00": 1, "D01": 1}
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}


def test_a_settled_entry_that_comes_again_heals_the_counting_above_it(world: World) -> None:
    """The worker that filled the last chunk died before it told the node above."""

    def die_between_the_levels(sent: Sent) -> None:
        if sent.operation == "UpdateItem" and f"node#{RUN}#1#1#" in sent.key:
            raise WorkerKilled

    world.begin(10)
    world.work(world.batch(*range(5)))
    world.wire.before = die_between_the_levels
    killed_by(world, world.batch(*range(5, 10)))
    assert world.run().state is RunState.RUNNING
    assert world.work(world.batch(9, receives=2)) == []
    assert world.run().state is RunState.COMPLETE
    assert len(world.target.calls) == 10


def test_what_a_dead_worker_may_have_called_cannot_end_failed(world: World) -> None:
    """It was received once before and nothing is known of that: its first call may have had any effect."""
    world.begin(1)
    world.target.script("D00", then=503)
    for receives in range(2, 6):
        world.work(world.batch(0, receives=receives))
    assert world.outcome(0) is Outcome.UNKNOWN
    assert len(world.target.calls) == 4


def test_a_first_outcome_stands_whatever_comes_later(world: World) -> None:
    """A zombie's success comes when the entry has failed already."""
    world.begin(2)
    world.target.script("D00", 400)
    world.work(world.batch(0))
    world.work(world.batch(0))
    assert len(world.target.calls) == 2
    assert world.outcome(0) is Outcome.REJECTED
    (event,) = world.events.of(Action.ENTRY_SUPERSEDED)
    assert event["stands"] is Outcome.REJECTED


def test_a_late_failure_does_not_undo_a_success(world: World) -> None:
    world.begin(6)
    world.work(world.batch(0))
    world.target.script("D00", 400)
    world.target.script("D01", 400)
    world.work(world.batch(0, 1, 2))
    assert [world.outcome(index) for index in range(3)] == [Outcome.SUCCEEDED, Outcome.REJECTED, Outcome.SUCCEEDED]
    assert world.events.count(Action.ENTRY_SUPERSEDED) == 1


def test_a_late_failure_that_meets_a_full_chunk_counts_it(world: World) -> None:
    """Its write is refused; what the refusal shows is a full chunk whose parent may not know."""
    world.begin(10)
    world.work(world.batch(*range(5)))
    world.work(world.batch(*range(5, 9)))

    def die_between_the_levels(sent: Sent) -> None:
        if sent.operation == "UpdateItem" and "#1#1#" in sent.key:
            raise WorkerKilled

    world.wire.before = die_between_the_levels
    killed_by(world, world.batch(9))
    world.target.script("D09", 400)
    world.work(world.batch(9))
    assert world.run().state is RunState.COMPLETE
    assert world.outcomes() == {Outcome.SUCCEEDED: 10}


def test_sixty_failures_in_one_chunk_are_settled_within_dynamodbs_limits(world: World) -> None:
    world.chunk_size, world.fan_in = 60, 60
    world.report = [Entry(None, {"row": number}) for number in range(60)]
    world.start()
    assert world.outcomes() == {Outcome.REJECTED: 60}
    assert len(writes_to_chunks(world)) == 2
    assert world.run().state is RunState.COMPLETE


def test_an_outcome_that_came_too_late_is_kept_and_marked_as_superseded(world: World) -> None:
    world.begin(6)
    world.work(world.batch(0))
    world.target.script("D00", 400)
    world.work(world.batch(0))
    entry = world.entry("D00")
    assert entry["g1_rejected"]["error"] == "http_400"
    assert entry["g1_rejected_superseded"] is True
    assert world.outcome(0) is Outcome.SUCCEEDED


def test_a_success_that_came_too_late_is_kept_beside_the_outcome_that_stands(world: World) -> None:
    """A redrive must not take it for an entry of which nothing was ever done."""
    world.begin(6)
    world.target.script("D00", 400)
    world.work(world.batch(0))
    before = world.entry("D00")
    world.work(world.batch(0))
    after = world.entry("D00")
    assert after.pop("late_answer")["outcome"] == "succeeded"
    assert after == before
    assert world.outcome(0) is Outcome.REJECTED


# --- two messages of one entry ---


def with_copy(world: World, receives: int = 1) -> list[dict[str, Any]]:
    """A batch of an entry's first message, and of the one that a take-over sent once more."""
    return [*world.batch(0, receives=receives), delivered(world.message(0), again=True, message_id="copy")]


def test_an_entrys_second_message_goes_when_the_first_got_an_outcome_which_stands(world: World) -> None:
    world.begin(1)
    world.target.script("D00", 400)
    assert world.work(with_copy(world)) == []
    assert world.target.times() == {"D00": 1}
    assert world.outcomes() == {Outcome.REJECTED: 1}
    assert world.events.count(Action.ENTRY_SUPERSEDED) == 0


def test_an_entrys_second_message_stays_as_long_as_the_first(world: World) -> None:
    world.begin(1)
    world.target.script("D00", 503)
    batch = with_copy(world)
    assert world.work(batch) == ids(batch)
    assert world.target.times() == {"D00": 1}
    assert world.outcomes() == {}
    assert world.work(with_copy(world, receives=2)) == []
    assert world.target.times() == {"D00": 2}
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}


def test_an_entrys_second_message_waits_no_longer_than_the_first(world: World) -> None:
    world.begin(1)
    world.target.script("D00", 503)
    batch = with_copy(world)
    world.work(batch)
    assert waits(world, batch) == [2, 2]


def test_the_second_message_of_a_settled_entry_goes_with_the_first(world: World) -> None:
    world.begin(2)
    world.work(world.batch(0))
    assert world.work(with_copy(world, receives=2)) == []
    assert world.target.times() == {"D00": 1}


@pytest.mark.parametrize(("answer", "stay"), [(200, False), (503, True)])
def test_the_second_message_of_a_suspect_shares_the_lot_of_the_first(world: World, answer: int, stay: bool) -> None:
    world.begin(1)
    make_suspect(world, 0)
    world.target.calls.clear()
    world.target.script("D00", answer)
    batch = with_copy(world, receives=3)
    assert world.work(batch) == (ids(batch) if stay else [])
    assert world.target.times() == {"D00": 1}
    assert world.outcomes() == ({} if stay else {Outcome.SUCCEEDED: 1})


# --- groups ---


def test_two_messages_of_one_group_are_called_in_their_order_one_at_a_time(world: World) -> None:
    under_way: list[str] = []
    order: list[str] = []

    async def note(deposit: Any, call: Call) -> None:
        assert call.key not in under_way
        under_way.append(call.key)
        await asyncio.sleep(0.01)
        under_way.remove(call.key)
        order.append(f"{call.run_id} {call.key}")

    two_runs(world, 2)
    world.job._callback = note
    assert world.work([*world.batch(0, 1), *world.batch(0, 1, run=TOMORROW)]) == []
    assert order.index(f"{RUN} D00") < order.index(f"{TOMORROW} D00")
    assert order.index(f"{RUN} D01") < order.index(f"{TOMORROW} D01")


def test_one_returned_message_returns_the_rest_of_its_group_uncalled(world: World) -> None:
    two_runs(world, 2)
    world.target.script("D00", 503)
    batch = [*world.batch(0, 1), *world.batch(0, 1, run=TOMORROW)]
    assert set(world.work(batch)) == {batch[0]["messageId"], batch[2]["messageId"]}
    assert waits(world, batch) == [2, None, 2, None]
    assert world.target.times() == {"D00": 1, "D01": 2}
    assert world.chunk(0, TOMORROW).held == {0}


def test_a_suspect_does_not_let_the_next_message_of_its_group_pass(world: World) -> None:
    two_runs(world, 1)
    make_suspect(world, 0)
    world.target.calls.clear()
    world.target.script("D00", 503)
    batch = [*world.batch(0, receives=3), *world.batch(0, run=TOMORROW)]
    assert set(world.work(batch)) == set(ids(batch))
    assert len(world.target.calls) == 1
    assert world.target.calls[0].idempotency_key.startswith(RUN + "-")
    assert world.chunk(0, TOMORROW).held == {0}


def test_a_suspect_is_called_alone_though_the_next_message_of_its_group_is_none(world: World) -> None:
    two_runs(world, 2)
    make_suspect(world, 0)
    settled_by_then: list[set[int]] = []

    async def alone(deposit: Any, call: Call) -> None:
        settled_by_then.append(set(world.chunk().settled))

    world.job._callback = alone
    world.work([*world.batch(0, receives=3), *world.batch(0, run=TOMORROW), *world.batch(1)])
    assert settled_by_then == [set(), {1}, {0, 1}]


# --- out of time ---


def test_what_cannot_be_called_in_time_is_returned_and_held(world: World) -> None:
    world.begin(3)
    batch = world.batch(0, 1, 2)
    assert set(world.work(batch, time=TOO_SHORT)) == set(ids(batch))
    assert world.target.calls == []
    assert world.chunk().held == {0, 1, 2}
    assert waits(world, batch) == [0, 0, 0]


def test_a_held_entry_has_used_up_nothing_and_may_still_end_failed(world: World) -> None:
    world.begin(1)
    world.target.script("D00", then=503)
    world.work(world.batch(0), time=TOO_SHORT)
    for receives in range(2, 6):
        world.work(world.batch(0, receives=receives))
    assert len(world.target.calls) == 4
    assert world.outcome(0) is Outcome.FAILED
    assert world.chunk().held == frozenset()


def test_to_be_held_does_not_clear_an_entry_of_an_older_doubt(world: World) -> None:
    """A worker died with it first; then there was no time to call it; its first call is in doubt as ever."""
    world.begin(1)
    world.target.script("D00", then=503)
    world.work(world.batch(0, receives=2), time=TOO_SHORT)
    for receives in range(3, 7):
        world.work(world.batch(0, receives=receives))
    assert world.outcome(0) is Outcome.UNKNOWN


def test_a_suspect_without_time_for_its_call_has_used_up_no_attempt(world: World) -> None:
    world.begin(1)
    make_suspect(world, 0)
    world.target.calls.clear()
    for receives in range(3, 9):
        world.work(world.batch(0, receives=receives), time=TOO_SHORT)
    assert world.target.calls == []
    assert world.chunk().attempts == {}
    assert world.chunk().begun == {0}, "it is a suspect still"
    assert world.chunk().held == set(), "its call is in doubt: a cancel leaves it to whoever receives it"
    world.work(world.batch(0, receives=9))
    assert world.outcome(0) is Outcome.SUCCEEDED
