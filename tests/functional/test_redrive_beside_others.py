"""A redrive beside other runs, other redrives, its own second delivery, and what is left of the first generation."""

import asyncio
from contextlib import suppress

import pytest

from rollcall import Outcome, Overlap, Response
from rollcall.adapters.ledger import runs
from rollcall.adapters.manifests import Manifests
from rollcall.core.actions import Action
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunState, run_id
from tests.functional.redrives import PATIENT, again, lines, troubled
from tests.functional.wire import Killed, Sent
from tests.functional.world import DAY, DUE, LEASE, NAME, RUN, World, a_job, delivered, keys

TOMORROW = run_id(NAME, DUE + DAY)


# --- the job is taken ---


def test_a_redrive_takes_the_job_and_others_wait_for_its_end(world: World) -> None:
    troubled(world)
    world.start(DUE + DAY)
    world.drain()
    world.announce(TOMORROW)
    world.redrive()
    record = world.job_record()
    assert (record.current, record.current_generation, record.open) == (RUN, 2, frozenset({RUN}))
    world.start(DUE + 2 * DAY)
    skipped = world.run(run_id(NAME, DUE + 2 * DAY))
    assert (skipped.state, skipped.reason) == (RunState.SKIPPED, f"{RUN} is not finished")


def test_a_start_that_looked_before_a_redrive_took_the_job_does_not_start_beside_it(world: World) -> None:
    """The run is the job's current one before and after: only its generation tells."""
    raced = False

    def a_redrive_comes_first(sent: Sent) -> None:
        nonlocal raced
        if sent.operation == "TransactWriteItems" and not raced:
            raced = True
            world.redrive()

    troubled(world)
    world.wire.before = a_redrive_comes_first
    assert world.start(DUE + DAY) is None
    assert world.run(TOMORROW).state is RunState.SKIPPED
    assert world.run().state is RunState.RUNNING


def test_a_redrive_that_looked_before_another_run_took_the_job_is_refused(world: World) -> None:
    raced = False

    def another_comes_first(sent: Sent) -> None:
        nonlocal raced
        if sent.operation == "TransactWriteItems" and not raced:
            raced = True
            world.start(DUE + DAY)

    troubled(world)
    world.wire.before = another_comes_first
    with pytest.raises(RollcallError, match=f"{TOMORROW} is under way; wait until it has ended"):
        world.redrive()
    assert world.run().generation == 1


def test_a_redrive_while_another_run_is_under_way_is_refused_and_changes_nothing(world: World) -> None:
    troubled(world)
    world.start(DUE + DAY)
    before = world.ledger_dump()
    with pytest.raises(RollcallError, match=f"{RUN} cannot be redriven: {TOMORROW} is under way; wait until"):
        world.redrive()
    assert world.ledger_dump() == before


def test_where_runs_may_overlap_a_redrive_may_too(world: World) -> None:
    troubled(world, overlap=Overlap.ALLOW)
    world.start(DUE + DAY)
    world.redrive()
    world.drain()
    assert [world.run(run).state for run in (RUN, TOMORROW)] == [RunState.COMPLETE] * 2
    assert world.outcomes() == {Outcome.SUCCEEDED: 3}
    assert world.outcomes(TOMORROW) == {Outcome.SUCCEEDED: 8}


def test_a_run_that_has_not_ended_cannot_be_redriven(world: World) -> None:
    world.begin(8)
    with pytest.raises(RollcallError, match="it is running; wait until it has ended"):
        world.redrive()


def test_a_run_whose_end_is_not_announced_cannot_be_redriven(world: World) -> None:
    world.begin(3)
    world.drain()
    with pytest.raises(RollcallError, match="its end is not announced yet; try again in a minute"):
        world.redrive()
    assert world.run().generation == 1


def test_the_transaction_itself_sees_that_the_end_is_not_announced(world: World) -> None:
    """Whatever was read before."""
    world.begin(3)
    world.drain()
    run = world.run()
    with pytest.raises(runs.Conflict):
        runs.redrive(world.ledger, run, run, world.job_record())


@pytest.mark.parametrize("state", ["refused", "skipped"])
def test_a_run_that_was_never_sealed_cannot_be_redriven(world: World, state: str) -> None:
    run = RUN
    if state == "refused":
        world.report = [ValueError("boom")]
        world.start()
    else:
        world.begin(3)
        world.start(DUE + DAY)
        run = TOMORROW
        world.drain()
        world.announce()
    world.announce(run)
    with pytest.raises(RollcallError, match=f"it is {state} and has no manifest; start the job again"):
        world.redrive(run)


def test_a_generation_that_there_is_not_cannot_be_gone_by(world: World) -> None:
    troubled(world)
    with pytest.raises(RollcallError, match="it has no generation 2; its latest is 1"):
        world.redrive(generation=2)


def test_a_run_that_there_is_not_cannot_be_redriven(world: World) -> None:
    with pytest.raises(RollcallError, match=f"there is no run {RUN}"):
        world.redrive(generation=1)


def test_an_announcer_that_is_late_does_not_close_what_a_redrive_has_opened(world: World) -> None:
    """Else nobody would look after the new generation."""
    redriven = False

    def a_redrive_comes_first(sent: Sent) -> None:
        nonlocal redriven
        if sent.operation == "TransactWriteItems" and not redriven:
            redriven = True
            world.redrive()

    troubled_until_the_end(world)
    world.wire.before = a_redrive_comes_first
    world.announce()
    assert world.run().generation == 2
    assert world.job_record().open == {RUN}


def troubled_until_the_end(world: World) -> None:
    world.declare(a_job(breaker=PATIENT))
    world.target.script("D01", 404)
    world.begin(3)
    world.drain()


def test_the_watchdog_does_not_close_what_a_redrive_has_opened(world: World) -> None:
    redriven = False

    def a_redrive_comes_first(sent: Sent) -> None:
        nonlocal redriven
        if sent.operation == "TransactWriteItems" and world.run().announced and not redriven:
            redriven = True
            world.redrive()

    troubled_until_the_end(world)
    world.wire.before = lambda sent: die(sent, "TransactWriteItems")
    with pytest.raises(Killed):
        world.announce()
    world.wire.heal()
    world.wire.before = a_redrive_comes_first
    world.watchdog()
    assert world.run().generation == 2
    assert world.job_record().open == {RUN}


def die(sent: Sent, operation: str) -> None:
    if sent.operation == operation:
        raise Killed(str(sent))


# --- delivered twice, killed ---


@pytest.mark.parametrize("ended_by_then", [False, True])
def test_a_redrive_that_is_delivered_twice_opens_one_generation(world: World, ended_by_then: bool) -> None:
    troubled(world)
    world.target.calls.clear()
    world.redrive(generation=1)
    if ended_by_then:
        world.drain()
        world.announce()
    assert world.redrive(generation=1) is None
    world.drain()
    assert world.run().generation == 2
    assert world.target.times() == {"D01": 1, "D03": 1, "D05": 1}


def test_of_two_redrives_at_once_one_wins(world: World) -> None:
    raced = False

    def the_other_comes_first(sent: Sent) -> None:
        nonlocal raced
        if sent.operation == "TransactWriteItems" and not raced:
            raced = True
            world.redrive(generation=1, outcomes=["failed"])

    troubled(world)
    world.wire.before = the_other_comes_first
    assert world.redrive(generation=1, outcomes=["rejected"]) is None
    world.drain()
    assert [line.key for line in lines(world)] == ["D01"]
    assert world.run().generation == 2


REQUESTS = 22


def test_a_redrive_makes_no_more_requests_than_these_stories_kill(world: World) -> None:
    troubled(world)
    world.wire.sent.clear()
    world.redrive()
    assert len(world.wire.sent) <= REQUESTS


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("number", range(1, REQUESTS + 1))
def test_a_redrive_that_dies_is_taken_over_and_loses_and_doubles_nothing(world: World, number: int, lost: str) -> None:
    troubled(world)
    world.target.calls.clear()
    (world.wire.kill_before if lost == "request" else world.wire.kill_after)(number)
    with suppress(Killed):
        world.redrive(generation=1)
    world.wire.heal()
    world.later(LEASE)
    world.redrive(generation=1)  # Lambda delivers it again
    world.drain()
    run = world.run()
    assert (run.generation, run.state, run.total) == (2, RunState.COMPLETE, 3)
    assert world.outcomes() == {Outcome.SUCCEEDED: 3}
    assert world.target.times().keys() == {"D01", "D03", "D05"}
    assert world.events.count(Action.RUN_COMPLETE) == 2


# --- two generations side by side ---


def test_a_worker_that_remembers_the_first_generation_drops_nothing_of_the_second(world: World) -> None:
    world.declare(a_job(breaker=PATIENT))
    world.target.script("D01", 404)
    worker = world.worker()
    world.begin(3)
    world.drain(worker)
    world.announce()
    world.redrive()
    world.drain(worker)
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}
    assert world.events.count(Action.MESSAGE_DROPPED) == 0


def test_leftover_messages_of_the_first_generation_are_dropped_without_effect(world: World) -> None:
    world.declare(a_job(breaker=PATIENT))
    for key in keys(3):
        world.target.script(key, 404)
    world.begin(3)
    leftover = world.messages(0, 1, 2)
    world.drain()
    world.announce()
    world.redrive()
    world.target.calls.clear()
    before = world.ledger_dump()
    assert world.work([delivered(message, receives=2) for message in leftover]) == []
    assert world.target.calls == []
    assert world.ledger_dump() == before
    assert world.events.count(Action.MESSAGE_DROPPED) == 3
    world.drain()
    assert world.outcomes() == {Outcome.SUCCEEDED: 3}


@pytest.mark.parametrize("late", [Response(200, {}, b""), Response(404, {}, b"late")], ids=["well", "refused"])
def test_a_late_answer_of_the_first_generation_changes_nothing_of_the_seconds_count(
    world: World, late: Response
) -> None:
    """A worker hangs in its call while its entry is settled by the dead letters, redriven, and still open."""
    world.declare(a_job(breaker=PATIENT))
    world.begin(3)
    batch = world.batch(0)

    async def hang(request: object) -> Response:
        del request
        await asyncio.sleep(0)
        meanwhile()
        return late

    def meanwhile() -> None:
        world.dead_letters(batch)
        for index in (1, 2):
            world.dead_letters(world.batch(index))
        world.announce()
        world.redrive(outcomes=["unknown"])

    world.work(batch, worker=world.worker(hang))
    run = world.run()
    assert (run.generation, run.state, run.total) == (2, RunState.RUNNING, 3)
    assert world.outcomes() == {}
    world.drain()
    assert world.outcomes() == {Outcome.SUCCEEDED: 3}
    assert world.events.count(Action.RUN_COMPLETE) == 2


def test_the_manifest_of_an_earlier_generation_is_never_written_over(world: World) -> None:
    troubled(world)
    before = set(world.manifest_keys())
    again(world)
    assert before < set(world.manifest_keys())
    assert Manifests(world.clients.s3, "manifests").read(world.run().generations[1], 0)[0].key == "D00"
