"""Targets that take no keys, where workers die, come back too late, or cannot write: nothing is ever done twice."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rollcall import NotSent, Outcome, Retry
from rollcall.adapters.ledger import entries
from rollcall.adapters.ledger.entries import EntryName, EntryRecord, Told
from rollcall.adapters.ledger.records import node_key
from rollcall.adapters.ledger.update import ConditionFailed
from rollcall.core.actions import Action
from rollcall.core.answers import Answer
from rollcall.core.run import RunState
from rollcall.core.tree import Node
from tests.functional.bank import (
    INVOCATION,
    NOTHING,
    SETTLES,
    Bank,
    Done,
    Step,
    ask,
    entry_of,
    handle_all,
    item_of,
    open_bank,
    work,
)
from tests.functional.wire import Killed, Sent
from tests.functional.world import DUE, RUN, World, keys

SECOND = timedelta(seconds=1)


# --- zombies ---


def zombie(world: World, meanwhile: Any) -> list[str]:
    """A worker calls; while its call is under way, `meanwhile` happens. Returns what that worker leaves."""
    bank = world.target
    assert isinstance(bank, Bank)
    happened = False

    async def send(request: Any) -> Any:
        nonlocal happened
        answer = await bank.send(request)
        if not happened:
            happened = True
            await meanwhile()
        return answer

    return world.work(world.batch(0), worker=world.worker(send), time=INVOCATION)


def test_a_late_answer_is_kept_and_settles_the_entry_if_nothing_has(world: World) -> None:
    bank = open_bank(world, 6)
    bank.on_call("D00", 200, NOTHING)
    bank.on_question("D00", 404, then=500)  # the bank has not seen it; later it cannot tell

    async def another() -> None:
        world.clock.set(DUE + INVOCATION + SETTLES)
        await world.worker().handle(world.batch(0, receives=2), world.clock.now() + INVOCATION)

    assert zombie(world, another) == []
    assert entry_of(world, 0)["late_answer"]["outcome"] == "succeeded"
    assert world.events.count(Action.ENTRY_LATE_ANSWER) == 1
    assert world.outcome(0) is Outcome.SUCCEEDED
    assert work(world, 0, receives=3) == []
    assert len(bank.calls) == 2
    assert len(bank.questions) == 1


def test_a_late_answer_does_not_undo_what_stands(world: World) -> None:
    bank = open_bank(world, 6)
    bank.on_call("D00", 200, 422)
    bank.on_question("D00", then=404)

    async def another() -> None:
        world.clock.set(DUE + INVOCATION + SETTLES)
        await world.worker().handle(world.batch(0, receives=2), world.clock.now() + INVOCATION)

    zombie(world, another)
    assert world.outcome(0) is Outcome.REJECTED
    assert entry_of(world, 0)["late_answer"]["outcome"] == "succeeded"
    assert entry_of(world, 0)["g1_outcome"] == "rejected"


def test_who_comes_while_a_call_is_under_way_does_not_call(world: World) -> None:
    bank = open_bank(world, 6)
    bank.on_question("D00", then=404)

    async def another() -> None:
        world.later(30 * SECOND)
        await world.worker().handle(world.batch(0, receives=2), world.clock.now() + INVOCATION)
        await world.worker().handle(world.batch(0), world.clock.now() + INVOCATION)

    assert zombie(world, another) == []
    assert len(bank.calls) == 1
    assert world.outcome(0) is Outcome.SUCCEEDED


def gives_up(sent: Sent) -> bool:
    """Whether a worker writes that an entry has failed."""
    return sent.operation == "UpdateItem" and "g1_failed" in sent.fields.get("ExpressionAttributeNames", {}).values()


@pytest.mark.parametrize("meanwhile", ["it is done", "a call is under way"])
def test_who_stood_still_before_it_gave_up_does_not_settle_what_another_has_claimed(
    world: World, meanwhile: str
) -> None:
    """Its call did nothing, and it gave its claim back; then it stood still, and the message came to another worker."""
    bank = open_bank(world, 6, retry=Retry(retries=0))
    bank.on_call("D00", NotSent("refused"))
    name = EntryName("D00", 0)

    def before(sent: Sent) -> None:
        if gives_up(sent):
            world.wire.reset()
            run, now = world.run(), world.clock.now()
            record = entries.records(world.ledger, run, [name])[name]
            entries.claim(world.ledger, run, name, record, "another", now + INVOCATION, now)
            if meanwhile == "it is done":
                told = Told(Answer(Outcome.SUCCEEDED), attempts=2)
                entries.conclude(world.ledger, run, name, "another", Outcome.SUCCEEDED, told, now)

    world.wire.before = before
    assert len(work(world, 0, 1)) == 1
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}, "its neighbour is settled"
    assert world.events.count(Action.ENTRY_FAILED) == 0
    world.later(INVOCATION + SETTLES)
    if meanwhile == "it is done":
        assert work(world, 0, receives=3) == []
        assert world.outcome(0) is Outcome.SUCCEEDED
    assert [called.key for called in bank.calls] == ["D00", "D01"]


def test_what_was_given_up_can_be_claimed_no_more_by_who_read_its_record_before(world: World) -> None:
    bank = open_bank(world, 6, retry=Retry(retries=0))
    bank.on_call("D00", NotSent("refused"))
    name, stale = EntryName("D00", 0), list[EntryRecord]()

    def before(sent: Sent) -> None:
        if gives_up(sent):
            stale.append(entries.records(world.ledger, world.run(), [name])[name])

    world.wire.before = before
    assert work(world, 0) == []
    run, now = world.run(), world.clock.now()
    with pytest.raises(ConditionFailed):
        entries.claim(world.ledger, run, name, stale[0], "another", now + INVOCATION, now)


def test_what_is_given_up_is_told_once_though_the_sdk_writes_it_twice(world: World) -> None:
    bank = open_bank(world, 6, retry=Retry(retries=0))
    bank.on_call("D00", NotSent("refused"))
    name = EntryName("D00", 0)

    def before(sent: Sent) -> None:
        if gives_up(sent):
            world.wire.reset()
            run, now = world.run(), world.clock.now()
            told = Told(Answer(Outcome.FAILED, "not_sent", "refused"), attempts=1)
            record = entries.records(world.ledger, run, [name])[name]
            entries.conclude_unclaimed(world.ledger, run, name, record, Outcome.FAILED, told, now)

    world.wire.before = before
    assert work(world, 0) == []
    assert world.outcome(0) is Outcome.FAILED
    assert world.events.count(Action.ENTRY_FAILED) == 1


def test_what_was_given_up_before_the_chunk_could_be_written_is_not_called_again(world: World) -> None:
    bank = open_bank(world, 6, retry=Retry(retries=0))
    bank.on_call("D00", NotSent("refused"))
    refuse(world, node_key(RUN, 1, Node(0, 0)), 1)
    assert len(work(world, 0)) == 1
    world.wire.reset()
    assert work(world, 0, receives=2) == []
    assert world.outcome(0) is Outcome.FAILED
    assert len(bank.calls) == 1


# --- the ledger fails ---


def refuse(world: World, key: str, number: int, code: str = "ThrottlingException") -> None:
    """The `number`-th write of an item is refused."""
    made = 0

    def before(sent: Sent) -> None:
        nonlocal made
        if sent.operation == "UpdateItem" and sent.key == key:
            made += 1
            if made == number:
                raise ClientError({"Error": {"Code": code, "Message": "slow down"}}, "UpdateItem")

    world.wire.before = before


def test_an_entry_that_cannot_be_claimed_is_not_called(world: World) -> None:
    bank = open_bank(world, 3)
    batch = world.batch(0, 1, 2)
    refuse(world, item_of(1), 1)
    assert world.work(batch) == [batch[1]["messageId"]]
    assert bank.keys == ["D00", "D02"]
    assert work(world, 1, receives=2) == []
    assert bank.effects == dict.fromkeys(keys(3), 1)


def test_an_outcome_that_cannot_be_written_is_asked_for(world: World) -> None:
    bank = open_bank(world, 3)
    batch = world.batch(0, 1, 2)
    refuse(world, item_of(1), 2)
    assert world.work(batch) == [batch[1]["messageId"]]
    assert work(world, 1, receives=2) == []
    assert (bank.keys, len(bank.questions)) == (keys(3), 1)
    assert world.outcomes() == {Outcome.SUCCEEDED: 3}


def test_a_chunk_that_cannot_be_written_is_told_again_without_a_call(world: World) -> None:
    bank = open_bank(world, 3)
    bank.on_call("D01", 422)
    refuse(world, node_key(RUN, 1, Node(0, 0)), 1)
    assert len(work(world, 0, 1, 2)) == 3
    assert work(world, 0, 1, 2, receives=2) == []
    assert bank.keys == keys(3)
    assert world.outcomes() == {Outcome.SUCCEEDED: 2, Outcome.REJECTED: 1}
    assert entry_of(world, 1)["g1_rejected"]["error"] == "http_422"


# --- workers that die ---


@pytest.mark.parametrize("probe", [ask, None], ids=["probe", "no probe"])
@pytest.mark.parametrize("step", [Killed(), Done(Killed())], ids=["before", "after"])
def test_a_poisonous_entry_ends_by_itself_and_its_neighbours_are_called_once(
    world: World, probe: Any, step: Step
) -> None:
    bank = open_bank(world, 10, probe=probe)
    bank.on_call("D03", then=step)
    handle_all(world)
    assert world.run().state is RunState.COMPLETE
    if probe is None:
        expected, times = Outcome.UNKNOWN, 1
    elif isinstance(step, Done):
        expected, times = Outcome.SUCCEEDED, 1
    else:
        expected, times = Outcome.FAILED, 4
    assert world.outcome(3) is expected
    assert bank.times() == {**dict.fromkeys(keys(10), 1), "D03": times}
    assert max(bank.effects.values()) == 1
    assert all(world.outcome(index) is Outcome.SUCCEEDED for index in range(10) if index != 3)
