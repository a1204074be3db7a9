"""Bounded batches: the state machine's slices instead of a queue's messages, settled and counted the same way."""

import asyncio
import json
import random
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from rollcall import Batches, Breaker, Call
from rollcall.adapters.executions import Executions
from rollcall.core.actions import Action
from rollcall.core.batches import definition
from rollcall.core.outcome import Outcome
from rollcall.core.run import Redrive, RunRecord, RunState
from rollcall.core.sizing import worker_sizing
from rollcall.engine.batch.batch_handler import Handled, Slice, SliceHandler, Waits
from rollcall.engine.fan_out.fan_out import FanOut
from rollcall.engine.fan_out.run_lease import Again, Repair, Resume, Start
from rollcall.engine.worker.callback import Caller
from rollcall.engine.worker.worker import Worker
from stacks.keys import item_of_target, items_of
from tests.functional.test_own_items import Asked, outside
from tests.functional.wire import Killed
from tests.functional.world import DUE, RUN, World, a_job, entries, keys
from tools.cli.deployment import Deployment
from tools.cli.looks import Look
from tools.cli.verify import QUIET_SECONDS, Repairing

SECOND = timedelta(seconds=1)
PAUSE = 3 * SECOND
#: Slices and chunks (of 5) do not begin at the same entries.
BATCHES = Batches(size=4, at_once=1, pause=PAUSE, most_entries=100)
TIME = timedelta(minutes=5)
BREAKER = Breaker(failures=10, pause=timedelta(minutes=1))


class Batched:
    """A world whose job is delivered in batches."""

    def __init__(self, world: World, **options: Any) -> None:
        self.world = world
        world.declare(a_job(delivery=options.pop("delivery", BATCHES), **options))
        machine = world.clients.stepfunctions.create_state_machine(
            name="batches",
            definition=json.dumps(definition(BATCHES, "arn:aws:lambda:eu-west-1:123456789012:function:batch")),
            roleArn="arn:aws:iam::123456789012:role/batches",
        )
        self.machine = machine["stateMachineArn"]

    def fan_out(self) -> FanOut:
        found = self.world.fan_out()
        executions = Executions(self.world.clients.stepfunctions, self.machine)
        fields = {name: getattr(found, name) for name in FanOut.__slots__}
        return FanOut(**fields | {"queue": None, "executions": executions})

    def start(self, number: int) -> RunRecord | None:
        self.world.report = entries(number)
        return self.fan_out().handle(Start(DUE, None), self.world.invocation())

    def handler(self) -> SliceHandler:
        """An environment of the batch function."""
        world = self.world
        caller = Caller(world.job, world.target.send, world.secrets.text, world.table, world.clock)
        waits, width = Waits(), worker_sizing(world.job).width
        worker = Worker(world.job, world.ledger, waits, caller, world.clock, random.Random(1), width, world.token())  # noqa: S311
        assert world.job.delivery is not None
        return SliceHandler(world.job.delivery, world.ledger, world.manifests, worker, waits, world.clock)

    async def handling(self, number: int, generation: int = 1) -> Handled:
        wanted = Slice(RUN, generation, number)
        return await self.handler().handle(wanted, self.world.token(), self.world.clock.now() + TIME)

    def handle(self, number: int, generation: int = 1) -> Handled:
        return self.world.runner.run(self.handling(number, generation))

    def executions(self) -> list[dict[str, Any]]:
        """The inputs of all executions, the first one first, with their names."""
        client = self.world.clients.stepfunctions
        found = client.list_executions(stateMachineArn=self.machine)["executions"]
        described = [client.describe_execution(executionArn=each["executionArn"]) for each in found]
        return [{"name": each["name"], **json.loads(each["input"])} for each in reversed(described)]

    def end_execution(self, name: str) -> None:
        arn = f"{self.machine.replace(':stateMachine:', ':execution:')}:{name}"
        self.world.clients.stepfunctions.stop_execution(executionArn=arn)

    def go_through(self, execution: int = 0) -> None:
        """As the state machine's Map does, slice after slice."""
        of = self.executions()[execution]
        for number in of["slices"]:
            for _ in range(20):
                handled = self.handle(number, of["generation"])
                self.world.later(timedelta(seconds=int(str(handled.fields()["wait_seconds"]))))
                if not handled.again:
                    break
            else:
                raise AssertionError(f"slice {number} never ends")


@pytest.fixture
def batched(world: World) -> Batched:
    return Batched(world)


def test_a_run_in_batches_completes_once_with_the_same_counts(batched: Batched, world: World) -> None:
    world.target.script("D03", then=404)
    run = batched.start(12)
    assert run is not None
    assert run.state is RunState.RUNNING
    batched.go_through()
    assert world.run().state is RunState.COMPLETE
    assert world.outcomes() == {Outcome.SUCCEEDED: 11, Outcome.REJECTED: 1}
    assert world.target.keys == keys(12)
    assert world.events.count(Action.RUN_COMPLETE) == 1
    assert not world.wire.of("SendMessageBatch")


def test_the_execution_goes_over_references_and_is_named_after_run_and_generation(batched: Batched) -> None:
    batched.start(9)
    assert batched.executions() == [{"name": f"{RUN}-g1", "run": RUN, "generation": 1, "slices": [0, 1, 2]}]


def test_between_two_batches_is_the_pause(batched: Batched, world: World) -> None:
    batched.start(8)
    batched.go_through()
    began = {call.key: call.at for call in world.target.calls}
    assert began["D04"] - began["D03"] == PAUSE


def test_a_declined_entry_is_not_tried_again_and_an_outage_is_after_2_4_and_8_seconds(
    batched: Batched, world: World
) -> None:
    world.target.script("D00", then=402)
    world.target.script("D01", then=503)
    batched.start(4)
    batched.go_through()
    assert world.target.times()["D00"] == 1
    at = [call.at for call in world.target.calls if call.key == "D01"]
    assert [later - earlier for earlier, later in pairwise(at)] == [2 * SECOND, 4 * SECOND, 8 * SECOND]
    assert len({call.idempotency_key for call in world.target.calls if call.key == "D01"}) == 1
    assert world.outcomes() == {Outcome.SUCCEEDED: 2, Outcome.REJECTED: 1, Outcome.FAILED: 1}


def test_after_ten_failures_in_a_row_nobody_is_called_for_a_minute(world: World) -> None:
    batched = Batched(world, delivery=Batches(size=20, most_entries=100), concurrency=1, breaker=BREAKER)
    for key in keys(20):
        world.target.script(key, 503)
    batched.start(20)
    handled = batched.handle(0)
    assert world.target.keys == keys(10)
    assert handled.again
    world.later(handled.wait)
    batched.go_through()
    assert world.target.calls[10].at - world.target.calls[9].at >= BREAKER.pause
    assert world.target.times()["D15"] == 2, "being held used up no attempt"
    assert world.outcomes() == {Outcome.SUCCEEDED: 20}


def test_a_slice_that_is_repeated_calls_nobody_twice(batched: Batched, world: World) -> None:
    batched.start(8)
    first = batched.handle(0)
    assert batched.handle(0) == first == Handled(again=False, wait=PAUSE)
    assert world.target.keys == keys(4)


def test_a_slice_that_is_repeated_while_its_entries_wait_does_not_shorten_their_waits(
    batched: Batched, world: World
) -> None:
    world.target.script("D01", then=503)
    batched.start(4)
    batched.handle(0)
    world.later(SECOND)
    assert batched.handle(0) == Handled(again=True, wait=2 * SECOND), "the second that is left, and one more"
    assert world.target.times()["D01"] == 1
    world.later(SECOND)
    batched.go_through()
    at = [call.at for call in world.target.calls if call.key == "D01"]
    assert [later - earlier for earlier, later in pairwise(at)] == [2 * SECOND, 4 * SECOND, 8 * SECOND]


def test_a_slice_that_runs_twice_in_parallel_calls_nobody_twice(batched: Batched, world: World) -> None:
    batched.start(4)
    both: list[Handled] = []

    async def in_parallel() -> None:
        both.extend(await asyncio.gather(batched.handling(0), batched.handling(0)))

    world.runner.run(in_parallel())
    assert world.target.keys == keys(4)
    assert [each.again for each in both] == [False, True]
    assert both[1].wait == TIME + SECOND
    world.later(both[1].wait)
    assert batched.handle(0).again is False
    assert world.target.keys == keys(4)
    assert world.run().state is RunState.COMPLETE


def test_a_slice_whose_handler_died_is_left_alone_until_that_one_is_over(batched: Batched, world: World) -> None:
    batched.start(4)

    async def die(deposit: Any, call: Call) -> None:
        world.target.calls.clear()
        raise Killed(f"{deposit} {call}")

    callback, world.job._callback = world.job._callback, die
    with pytest.raises(Killed):
        batched.handle(0)
    world.job._callback = callback
    handled = batched.handle(0)
    assert handled.again
    assert world.target.keys == []
    world.later(handled.wait)
    batched.go_through()
    assert world.run().state is RunState.COMPLETE
    assert world.outcomes() == {Outcome.SUCCEEDED: 4}


def test_a_cancel_lets_the_batch_in_hand_finish_and_cancels_the_rest(batched: Batched, world: World) -> None:
    # One call at a time, so that the cancel comes in the middle of the first batch.
    world.declare(a_job(delivery=BATCHES, concurrency=1), callback=_cancelling(world))
    batched.start(12)
    batched.go_through()
    assert world.run().state is RunState.CANCELLED
    assert world.outcomes() == {Outcome.SUCCEEDED: 4, Outcome.CANCELLED: 8}
    assert world.clock.now() - world.target.calls[-1].at == PAUSE, "nobody waits for what is cancelled"


def _cancelling(world: World) -> Any:
    async def callback(deposit: dict[str, Any], call: Call) -> None:
        if call.key == "D00":
            world.cancel()
            world.later(10 * SECOND)
        await call.http.put(f"/deposits/{call.key}", json=deposit)

    return callback


def test_of_entries_that_are_settled_a_second_round_notes_nothing(batched: Batched, world: World) -> None:
    world.target.script("D01", 503)
    batched.start(4)
    batched.handle(0)
    world.later(2 * SECOND)
    world.wire.reset()
    batched.handle(0)
    begun = [sent for sent in world.wire.of("UpdateItem") if "begun" in json.dumps(sent.fields)]
    assert ["1"] in [value.get("NS") for sent in begun for value in sent.fields["ExpressionAttributeValues"].values()]
    assert world.chunk().begun == frozenset()


def test_a_repeated_slice_counts_what_its_first_handler_died_over(batched: Batched, world: World) -> None:
    batched.start(4)

    def die_before_the_run_is_completed(sent: Any) -> None:
        if sent.operation == "UpdateItem" and sent.key == f"run#{RUN}":
            raise Killed

    world.wire.before = die_before_the_run_is_completed
    with pytest.raises(Killed):
        batched.handle(0)
    world.wire.before = None
    assert world.run().state is RunState.RUNNING
    world.later(TIME + SECOND)
    batched.handle(0)
    assert world.run().state is RunState.COMPLETE
    assert world.target.keys == keys(4)


def _dies_before_it_notes_the_start(sent: Any) -> None:
    values = json.dumps(sent.fields.get("ExpressionAttributeValues", {}))
    if sent.operation == "UpdateItem" and '"running"' in values and "checkpoint" in json.dumps(sent.fields):
        raise Killed


def test_a_fan_out_that_died_after_starting_starts_no_second_execution(batched: Batched, world: World) -> None:
    world.wire.before = _dies_before_it_notes_the_start
    with pytest.raises(Killed):
        batched.start(8)
    world.wire.before = None
    assert world.run().state is RunState.DISPATCHING
    world.later(timedelta(minutes=20))
    run = batched.fan_out().handle(Resume(RUN), world.invocation())
    assert run is not None
    assert run.state is RunState.RUNNING
    assert len(batched.executions()) == 1


def test_a_cancel_after_such_a_death_takes_nothing_out_of_a_batch_in_hand(batched: Batched, world: World) -> None:
    world.wire.before = _dies_before_it_notes_the_start
    with pytest.raises(Killed):
        batched.start(8)
    world.wire.before = None
    world.cancel()
    world.watchdog()
    assert world.outcomes() == {}, "whoever calls them just now has the word"
    batched.go_through()
    assert world.run().state is RunState.CANCELLED
    assert world.outcomes() == {Outcome.CANCELLED: 8}


def test_what_an_execution_left_is_handled_by_one_that_follows_it_once_it_has_ended(
    batched: Batched, world: World
) -> None:
    batched.start(12)
    batched.handle(1)
    world.later(timedelta(minutes=7))
    world.watchdog()
    assert world.functions.repaired == [(world.job.name, RUN)]
    assert batched.fan_out().handle(Repair(RUN), world.invocation()) is None, "it is still at work"
    batched.end_execution(f"{RUN}-g1")
    world.later(timedelta(minutes=7))
    batched.fan_out().handle(Repair(RUN), world.invocation())
    assert batched.executions()[1] == {"name": f"{RUN}-g1-1", "run": RUN, "generation": 1, "slices": [0, 2]}
    batched.go_through(1)
    assert world.run().state is RunState.COMPLETE
    assert world.target.times() == dict.fromkeys(keys(12), 1)


def test_a_run_of_more_entries_than_declared_is_refused_before_anybody_is_called(world: World) -> None:
    batched = Batched(world, delivery=Batches(size=4, most_entries=8))
    run = batched.start(9)
    assert run is not None
    assert run.state is RunState.REFUSED
    assert "9 entries" in str(run.reason)
    assert batched.executions() == []


def test_a_redrive_is_a_generation_with_an_execution_of_its_own(batched: Batched, world: World) -> None:
    world.target.script("D05", 404)
    batched.start(8)
    batched.go_through()
    world.announce()
    request = Again(RUN, 1, Redrive())
    batched.fan_out().handle(request, world.invocation())
    assert batched.executions()[1] == {"name": f"{RUN}-g2", "run": RUN, "generation": 2, "slices": [0]}
    batched.go_through(1)
    assert world.run().state is RunState.COMPLETE
    assert world.target.times()["D05"] == 2


def test_a_slice_of_an_earlier_generation_calls_nobody(batched: Batched, world: World) -> None:
    batched.start(4)
    assert batched.handle(0, generation=2) == Handled(again=False, wait=timedelta(0))
    assert world.target.calls == []


def test_a_run_in_batches_asks_for_its_own_jobs_items_only(batched: Batched, world: World) -> None:
    world.target.script("D01", 503)
    asked = Asked(world)
    batched.start(8)
    batched.go_through()
    found = asked.keys()
    assert {key.split("#")[0] for key in found} >= {"job", "run", "node", "slice", "target"}
    assert outside(found, *items_of(world.job), item_of_target(world.job)) == set()


def test_a_repair_that_waits_for_a_slice_says_so_and_asks_no_queue(batched: Batched, world: World) -> None:
    record = batched.start(4)
    nothing: Any = None
    deployment = Deployment(
        environment="test",
        place="a folder",
        option="",
        ledger=world.ledger,
        manifests=world.manifests,
        queues=nothing,
        functions=world.functions,
        alone=True,
    )
    told: list[str] = []
    repairing = Repairing(deployment, world.job, world.clock, told.append)
    for seconds in (0.0, QUIET_SECONDS):
        repairing.go_on(Look(RUN, record, 0, seconds))
    (line,) = told
    assert "may be sent again at 02:36:00Z; its execution may be at work" in line
    assert "a slice whose function died is free again by 02:" in line
