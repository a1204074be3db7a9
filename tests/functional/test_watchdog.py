"""The watchdog: goes on with what waits, heals what was left half done, and reports what is late."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rollcall import Job, Outcome, Overlap
from rollcall.adapters.ledger import runs
from rollcall.core.actions import Action
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunState, run_id
from rollcall.engine.watchdog.watchdog import Watchdog
from tests.functional.wire import Killed, Sent
from tests.functional.world import DAY, DUE, LEASE, NAME, RUN, World, a_job, entries

TOMORROW = run_id(NAME, DUE + DAY)
RESUMED = [(NAME, RUN)]
SECOND = timedelta(seconds=1)


def die_in_the_climb(world: World, level: int) -> None:
    """The worker that fills a node dies before it tells the node above, at this level."""

    def before(sent: Sent) -> None:
        if sent.operation == "UpdateItem" and f"node#{RUN}#1#{level}#" in sent.key:
            raise Killed(str(sent))

    world.wire.before = before


def die_before_the_end(world: World) -> None:
    def before(sent: Sent) -> None:
        if sent.operation == "UpdateItem" and sent.key == f"run#{RUN}":
            raise Killed(str(sent))

    world.wire.before = before


def die_in_fan_out(world: World, operation: str) -> None:
    def before(sent: Sent) -> None:
        if world.wire.of(operation):
            raise Killed(str(sent))

    world.wire.reset()
    world.wire.before = before
    with pytest.raises(Killed):
        world.start()
    world.wire.reset()


def the_bus_refuses(sent: Sent) -> dict[str, Any] | None:
    refusal = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
    return refusal if sent.operation == "PutEvents" else None


# --- dispatch ---


def test_a_released_run_with_room_in_its_window_is_topped_up(world: World) -> None:
    world.declare(a_job(window=20))
    world.report = entries(48)
    world.start()
    world.drain()
    world.watchdog()
    assert world.functions.resumed == RESUMED


def test_a_run_whose_window_is_full_is_not_worth_an_invocation(world: World) -> None:
    world.declare(a_job(window=20))
    world.report = entries(48)
    world.start()
    world.watchdog()
    assert world.functions.resumed == []


def test_the_room_of_a_window_is_what_all_runs_of_the_job_leave(world: World) -> None:
    world.declare(a_job(window=20, overlap=Overlap.ALLOW))
    world.begin(20)
    world.report = entries(20)
    world.start(DUE + DAY)
    assert world.run(TOMORROW).checkpoint == 0
    world.watchdog()
    assert world.functions.resumed == []


def test_a_run_whose_dispatch_fails_again_and_again_does_not_keep_the_other_runs_of_its_job_waiting(
    world: World,
) -> None:
    world.declare(a_job(window=40, overlap=Overlap.ALLOW))
    world.report = entries(8)
    die_in_fan_out(world, "SendMessageBatch")
    world.later(LEASE)
    world.report = entries(60)
    world.start(DUE + DAY)
    world.drain()
    world.watchdog()
    assert {run for _, run in world.functions.resumed} == {RUN, TOMORROW}


@pytest.mark.parametrize("operation", ["PutObject", "SendMessageBatch"], ids=["enumerating", "dispatching"])
def test_a_fan_out_that_died_is_taken_over_once_its_lease_has_ended_and_not_before(
    world: World, operation: str
) -> None:
    die_in_fan_out(world, operation)
    world.later(LEASE - SECOND)
    world.watchdog()
    assert world.functions.resumed == []
    world.later(SECOND)
    world.watchdog()
    assert world.functions.resumed == RESUMED


def test_a_run_that_is_all_on_the_queue_is_left_to_its_workers(world: World) -> None:
    world.begin(12)
    before = world.ledger_dump()
    world.watchdog()
    assert world.functions.resumed == []
    assert world.ledger_dump() == before


# --- healing ---


@pytest.mark.parametrize("level", [1, 2])
def test_a_full_node_whose_parent_does_not_know_is_counted(world: World, level: int) -> None:
    world.begin(20)
    world.work(world.batch(*range(10)))
    world.work(world.batch(*range(10, 15)))
    last = world.batch(*range(15, 20))
    die_in_the_climb(world, level)
    with pytest.raises(Killed):
        world.work(last)
    world.wire.heal()
    assert world.run().state is RunState.RUNNING
    world.watchdog()
    assert world.run().state is RunState.COMPLETE
    assert world.events.count(Action.RUN_HEALED) == 1
    assert world.outcomes() == {Outcome.SUCCEEDED: 20}


def test_a_full_root_that_did_not_end_its_run_does(world: World) -> None:
    world.begin(5)
    batch = world.batch(*range(5))
    die_before_the_end(world)
    with pytest.raises(Killed):
        world.work(batch)
    world.wire.heal()
    world.watchdog()
    assert world.run().state is RunState.COMPLETE


def test_a_run_with_an_open_entry_is_not_healed_to_its_end(world: World) -> None:
    world.begin(12)
    world.work(world.batch(*range(10)))
    world.work(world.batch(10))
    world.watchdog()
    assert world.run().state is RunState.RUNNING
    assert world.events.count(Action.RUN_HEALED) == 0


# --- ends ---


@pytest.mark.parametrize("state", ["complete", "refused"])
def test_an_end_that_nobody_announced_is_announced(world: World, state: str) -> None:
    world.report = entries(3) if state == "complete" else [ValueError("boom")]
    world.start()
    world.drain()
    world.watchdog()
    assert [event["state"] for event in world.announcements()] == [state]
    assert world.job_record().open == frozenset()


def test_an_end_that_is_being_announced_is_left_to_its_announcer(world: World) -> None:
    world.begin(3)
    world.drain()
    runs.claim_announcement(world.ledger, world.run(), "another", world.clock.now())
    world.watchdog()
    assert world.announcements() == []
    world.later(runs.ANNOUNCEMENT_LEASE)
    world.watchdog()
    assert len(world.announcements()) == 1


def test_an_announced_run_that_stayed_open_is_closed(world: World) -> None:
    """The announcer died after noting that it had acted."""

    def before(sent: Sent) -> None:
        if sent.operation == "TransactWriteItems":
            raise Killed(str(sent))

    world.begin(3)
    world.drain()
    world.wire.before = before
    with pytest.raises(Killed):
        world.announcer().announce(RUN)
    world.wire.heal()
    assert world.job_record().open == {RUN}
    world.watchdog()
    assert world.job_record().open == frozenset()
    assert len(world.announcements()) == 1


def test_a_skipped_run_whose_announcement_failed_is_announced(world: World) -> None:
    world.begin(3)
    world.start(DUE + DAY)
    world.wire.before = the_bus_refuses
    with pytest.raises(RollcallError, match="did not take"):
        world.announcer().announce(TOMORROW)
    world.wire.reset()
    world.watchdog()
    assert [(event["run"], event["state"]) for event in world.announcements()] == [(TOMORROW, "skipped")]
    assert world.job_record().open == {RUN}
    assert world.job_record().current == RUN


# --- queued runs ---


def test_a_queued_run_is_started_when_the_one_before_has_ended_though_nobody_told_it(world: World) -> None:
    world.declare(a_job(overlap=Overlap.QUEUE))
    world.begin(3)
    world.start(DUE + DAY)
    world.watchdog()
    assert world.functions.resumed == []
    world.drain()
    world.tamper(announced_at="noted")
    world.watchdog()
    assert world.functions.resumed == [(NAME, TOMORROW)]


def test_a_job_without_runs_is_nobodys_concern(world: World) -> None:
    world.watchdog()
    assert world.functions.resumed == []
    assert world.ledger_dump() == []


# --- late ---


def test_a_run_past_its_deadline_is_reported_every_round(world: World) -> None:
    world.declare(a_job(deadline=timedelta(hours=2)))
    world.begin(3)
    world.later(timedelta(hours=2))
    world.watchdog()
    assert world.events.count(Action.RUN_OVERDUE) == 0
    world.later(SECOND)
    world.watchdog()
    world.watchdog()
    events = world.events.of(Action.RUN_OVERDUE)
    assert [(event["run"], event["state"]) for event in events] == [(RUN, RunState.RUNNING)] * 2


def test_a_run_that_ended_in_time_is_not_reported(world: World) -> None:
    world.begin(3)
    world.drain()
    world.later(timedelta(days=2))
    world.watchdog()
    assert world.events.count(Action.RUN_OVERDUE) == 0


def test_a_run_that_cannot_be_looked_after_does_not_keep_the_watchdog_from_the_others(world: World) -> None:
    """The bus refuses the end of one run; another one waits for its top-up."""
    world.declare(a_job(window=20, overlap=Overlap.ALLOW))
    world.begin(3)
    world.drain()
    world.report = entries(48)
    world.start(DUE + DAY)
    world.drain()
    world.wire.before = the_bus_refuses
    with pytest.raises(ExceptionGroup, match="1 steps"):
        world.watchdog()
    assert world.functions.resumed == [(NAME, TOMORROW)]


def test_a_job_whose_record_cannot_be_read_does_not_keep_the_watchdog_from_the_other_jobs(world: World) -> None:
    def unreadable(sent: Sent) -> None:
        if sent.operation == "BatchGetItem" and "job#pay-others" in str(sent.fields):
            raise ClientError({"Error": {"Code": "InternalServerError", "Message": "no"}}, "BatchGetItem")

    world.declare(a_job(window=20))
    world.report = entries(48)
    world.start()
    world.drain()
    other = Job("pay-others", schedule=world.job.schedule, target=world.job.target)
    world.wire.before = unreadable
    with pytest.raises(ExceptionGroup, match="1 steps"):
        Watchdog([other, world.job], world.ledger, world.functions, world.announcer(), world.clock).look()
    assert world.functions.resumed == RESUMED
