"""Late runs are told of in every round, each by its own action: not sealed, at a standstill, past the deadline."""

from datetime import timedelta

import pytest

from rollcall import Overlap
from rollcall.adapters.ledger import runs
from rollcall.core.actions import Action
from rollcall.core.run import RunState, run_id
from rollcall.engine.watchdog.run_health import STALLED_AFTER
from tests.functional.wire import Killed, Sent
from tests.functional.world import DAY, DUE, LEASE, NAME, RUN, World, a_job, entries

TOMORROW = run_id(NAME, DUE + DAY)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
NO_TIME = SECOND


def stalled(world: World) -> int:
    """How often a standstill was told in one round more."""
    before = world.events.count(Action.RUN_STALLED)
    world.watchdog()
    return world.events.count(Action.RUN_STALLED) - before


def test_a_run_of_which_nothing_is_settled_for_an_hour_is_told_of_in_every_round(world: World) -> None:
    world.begin(12)
    world.later(STALLED_AFTER)
    assert stalled(world) == 0
    world.later(SECOND)
    assert [stalled(world), stalled(world)] == [1, 1]
    event = world.events.of(Action.RUN_STALLED)[0]
    assert (event["run"], event["stuck"], event["settled"], event["total"]) == (RUN, "12 entries", 0, 12)
    assert event["idle"] == "1:00:01"


def test_an_entry_settled_is_progress_and_begins_the_hour_anew(world: World) -> None:
    world.begin(12)
    world.later(STALLED_AFTER - MINUTE)
    world.work(world.batch(0))
    assert stalled(world) == 0
    world.later(STALLED_AFTER)
    assert stalled(world) == 0
    world.later(SECOND)
    assert stalled(world) == 1
    assert world.events.of(Action.RUN_STALLED)[0]["stuck"] == "11 entries"


def test_progress_that_is_seen_late_counts_from_when_it_was_seen(world: World) -> None:
    world.begin(12)
    world.work(world.batch(0))
    world.later(2 * STALLED_AFTER)
    assert [stalled(world), stalled(world)] == [0, 0]


@pytest.mark.parametrize("held", [12, 11])
def test_a_run_of_which_everything_is_held_stands_still_with_reason(world: World, held: int) -> None:
    world.begin(12)
    world.work(world.batch(*range(held)), time=NO_TIME)
    world.later(STALLED_AFTER + SECOND)
    assert stalled(world) == 12 - held


def test_a_window_full_of_held_entries_has_its_reason_though_more_are_yet_to_be_sent(world: World) -> None:
    world.declare(a_job(window=5))
    world.report = entries(12)
    world.start()
    world.work(world.batch(*range(5)), time=NO_TIME)
    world.later(STALLED_AFTER + SECOND)
    assert stalled(world) == 0


def test_a_run_that_nobody_goes_on_to_dispatch_stands_still(world: World) -> None:
    world.declare(a_job(window=5))
    world.report = entries(12)
    world.start()
    world.work(world.batch(*range(5)))
    assert stalled(world) == 0
    world.later(STALLED_AFTER + SECOND)
    assert stalled(world) == 1
    assert world.events.of(Action.RUN_STALLED)[0]["stuck"] == "7 entries"


def test_a_cancelled_run_that_does_not_end_stands_still(world: World) -> None:
    world.begin(12)
    world.cancel()
    world.later(STALLED_AFTER + SECOND)
    assert stalled(world) == 1


def test_a_run_that_gets_on_costs_one_write_a_round_and_one_that_does_not_none(world: World) -> None:
    world.begin(12)
    world.work(world.batch(0, 1))
    world.wire.reset()
    world.watchdog()
    assert world.wire.counts()["UpdateItem"] == 1
    world.watchdog()
    assert world.wire.counts()["UpdateItem"] == 1


def test_noting_progress_disturbs_no_dispatcher(world: World) -> None:
    world.declare(a_job(window=5))
    world.report = entries(12)
    world.start()
    world.drain()

    def the_watchdog_looks(sent: Sent) -> None:
        if sent.operation == "SendMessageBatch":
            world.wire.heal()
            world.watchdog()

    world.wire.before = the_watchdog_looks
    run = world.resume()
    assert run is not None
    assert (run.checkpoint, run.progress) == (10, 5)


def test_progress_of_a_generation_is_its_own(world: World) -> None:
    world.begin(3)
    world.target.script("D00", 422)
    world.drain()
    world.announce()
    before = world.run()
    world.later(2 * STALLED_AFTER)
    world.redrive()
    runs.note_progress(world.ledger, before, 3, world.clock.now())
    assert world.run().progress == 0
    assert stalled(world) == 0
    world.later(STALLED_AFTER + SECOND)
    assert stalled(world) == 1


# --- not sealed ---


def die_in_the_enumeration(world: World, queued: str | None = None) -> None:
    def before(sent: Sent) -> None:
        if sent.operation == "PutObject":
            raise Killed(str(sent))

    world.wire.before = before
    with pytest.raises(Killed):
        world.start() if queued is None else world.resume(queued)
    world.wire.heal()


def test_a_run_that_is_not_sealed_after_an_hour_is_told_of(world: World) -> None:
    """Its fan-out cannot even be started: each take-over would count, and the fourth would refuse it."""
    die_in_the_enumeration(world)
    world.later(STALLED_AFTER)
    world.watchdog()
    assert world.events.count(Action.RUN_UNSEALED) == 0
    world.later(SECOND)
    world.watchdog()
    (event,) = world.events.of(Action.RUN_UNSEALED)
    assert (event["run"], event["enumerations"]) == (RUN, 1)


def test_a_run_that_waited_long_for_its_turn_is_not_taken_for_one_that_is_not_sealed(world: World) -> None:
    world.declare(a_job(overlap=Overlap.QUEUE))
    world.begin(3)
    world.start(DUE + DAY)
    world.later(2 * STALLED_AFTER)
    world.drain()
    die_in_the_enumeration(world, TOMORROW)
    assert world.run(TOMORROW).state is RunState.ENUMERATING
    world.later(LEASE)
    world.watchdog()
    assert world.events.count(Action.RUN_UNSEALED) == 0


def test_a_run_that_was_sealed_late_has_its_hour_from_then_on(world: World) -> None:
    die_in_the_enumeration(world)
    world.later(STALLED_AFTER)
    world.resume()
    world.later(STALLED_AFTER)
    assert stalled(world) == 0
    world.later(SECOND)
    assert stalled(world) == 1


def test_a_redrive_long_after_its_run_is_not_taken_for_one_that_is_not_sealed(world: World) -> None:
    world.begin(3)
    world.target.script("D00", 422)
    world.drain()
    world.watchdog()
    world.announce()
    world.later(DAY)

    def die(sent: Sent) -> None:
        if sent.operation == "PutObject":
            raise Killed(str(sent))

    world.wire.before = die
    with pytest.raises(Killed):
        world.redrive()
    world.wire.heal()
    world.watchdog()
    assert world.events.count(Action.RUN_UNSEALED) == 0


def test_a_queued_run_past_its_deadline_is_told_of(world: World) -> None:
    world.declare(a_job(overlap=Overlap.QUEUE, deadline=timedelta(hours=2)))
    world.begin(3)
    world.start(DUE + SECOND)
    world.later(timedelta(hours=2, seconds=2))
    world.watchdog()
    overdue = {(event["run"], event["state"]) for event in world.events.of(Action.RUN_OVERDUE)}
    assert overdue == {(RUN, RunState.RUNNING), (run_id(NAME, DUE + SECOND), RunState.QUEUED)}
