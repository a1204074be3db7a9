"""Missed occurrences: noticed once nothing can bring them any more, told, announced, and never run after that."""

from datetime import timedelta

import pytest

from rollcall import Overlap, daily, every
from rollcall.core.actions import Action
from rollcall.core.run import RunState, run_id
from rollcall.core.sizing import LATEST_START
from rollcall.engine.watchdog.missed_runs import LONGEST_LOOK_BACK, MOST_MISSED, MOST_OCCURRENCES
from tests.functional.wire import Killed, Sent
from tests.functional.world import DAY, DUE, NAME, RUN, World, a_job, entries

TOMORROW = run_id(NAME, DUE + DAY)
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)


def look(world: World, at: timedelta) -> None:
    """The watchdog looks, so long after the first occurrence."""
    world.clock.set(DUE + at)
    world.watchdog(schedules=True)


def missed(world: World) -> list[str]:
    return [str(event["run"]) for event in world.events.of(Action.RUN_MISSED)]


@pytest.fixture
def watched(world: World) -> World:
    """Looked at for the first time an hour before the occurrence of `DUE`."""
    look(world, -HOUR)
    return world


def test_an_occurrence_that_never_came_is_missed_once_nothing_can_bring_it_and_not_before(watched: World) -> None:
    look(watched, LATEST_START)
    assert watched.ledger.run(RUN) is None
    look(watched, LATEST_START + SECOND)
    run = watched.run()
    assert (run.state, run.scheduled_for, run.started_at) == (RunState.MISSED, DUE, watched.clock.now())
    assert missed(watched) == [RUN]
    assert "no start of it ever came" in str(run.reason)


def test_it_is_told_once_and_announced_like_any_end(watched: World) -> None:
    for minute in range(3):
        look(watched, LATEST_START + minute * MINUTE + SECOND)
    assert missed(watched) == [RUN]
    assert [(event["run"], event["state"], event["total"]) for event in watched.announcements()] == [(RUN, "missed", 0)]
    assert watched.job_record().open == frozenset()


def test_a_start_that_comes_after_all_loses(watched: World) -> None:
    look(watched, LATEST_START + SECOND)
    assert watched.start() is None
    assert watched.run().state is RunState.MISSED
    assert watched.sent() == []
    assert watched.job_record().current is None


@pytest.mark.parametrize("overlap", list(Overlap))
def test_an_occurrence_with_a_run_is_not_missed_whatever_became_of_it(world: World, overlap: Overlap) -> None:
    """Complete, running, skipped or queued."""
    world.declare(a_job(overlap=overlap))
    look(world, -HOUR)
    world.clock.set(DUE)
    world.begin(3)
    world.clock.set(DUE + DAY)
    world.start(DUE + DAY)
    look(world, DAY + 2 * LATEST_START)
    assert missed(world) == []


def test_what_was_before_the_first_look_is_not_missed(world: World) -> None:
    look(world, HOUR)
    look(world, 12 * HOUR)
    assert missed(world) == []
    look(world, DAY + LATEST_START + SECOND)
    assert missed(world) == [TOMORROW]


def test_nothing_is_missed_of_a_schedule_before_it_was_seen(watched: World) -> None:
    """A deploy has changed it: its occurrences of the hours before were nobody's."""
    look(watched, LATEST_START + SECOND)
    watched.job.schedule = every(hours=1)
    look(watched, 6 * HOUR)
    look(watched, 6 * HOUR + MINUTE)
    assert missed(watched) == [RUN]
    look(watched, 8 * HOUR + LATEST_START)
    assert len(missed(watched)) == 3


def test_where_schedules_are_off_nothing_is_missed_and_they_may_come_on_again(watched: World) -> None:
    watched.clock.set(DUE + 2 * DAY)
    watched.watchdog()
    assert watched.job_record().watched_until is None
    look(watched, 3 * DAY - HOUR)
    look(watched, 3 * DAY - MINUTE)
    assert missed(watched) == []
    look(watched, 3 * DAY + LATEST_START + SECOND)
    assert missed(watched) == [run_id(NAME, DUE + 3 * DAY)]


def test_a_watched_job_costs_no_write_between_its_occurrences(watched: World) -> None:
    look(watched, LATEST_START + SECOND)
    look(watched, LATEST_START + MINUTE)
    before = watched.ledger_dump()
    for minute in range(2, 6):
        look(watched, LATEST_START + minute * MINUTE)
    assert watched.ledger_dump() == before
    watched.wire.reset()
    look(watched, 12 * HOUR)
    assert watched.wire.counts() == {"BatchGetItem": 1}


def test_after_a_silence_the_watchdog_catches_up_in_rounds_of_bounded_work(world: World) -> None:
    world.job.schedule = every(seconds=15)
    look(world, timedelta(0))
    silence = LATEST_START + HOUR
    for minute in range(12):
        before = len(missed(world))
        world.wire.reset()
        look(world, silence + minute * SECOND)
        assert len(missed(world)) - before <= MOST_MISSED
        if minute == 0:
            assert len(missed(world)) == MOST_MISSED
    assert len(missed(world)) == len(set(missed(world))) == 240


def test_occurrences_with_runs_are_passed_by_in_bounded_rounds(world: World) -> None:
    world.job.schedule = daily("02:30", "14:30")
    look(world, -HOUR)
    world.clock.set(DUE)
    world.begin(1)
    look(world, 6 * HOUR)
    assert world.job_record().watched_until == DUE
    assert MOST_OCCURRENCES <= 100, "one request reads so many"


def test_a_job_that_comes_back_after_a_long_time_missed_a_week_at_most(watched: World) -> None:
    look(watched, 30 * DAY + 12 * HOUR)
    look(watched, 30 * DAY + 13 * HOUR)
    assert len(missed(watched)) == LONGEST_LOOK_BACK // DAY


def test_a_start_that_comes_in_between_wins(watched: World) -> None:
    def it_comes_first(sent: Sent) -> None:
        if sent.operation == "TransactWriteItems":
            watched.wire.heal()
            watched.start()

    watched.report = entries(1)
    watched.wire.before = it_comes_first
    look(watched, LATEST_START + SECOND)
    assert watched.run().state is RunState.RUNNING
    assert missed(watched) == []
    look(watched, LATEST_START + MINUTE)
    assert watched.job_record().watched_until == DUE


def test_two_watchdogs_put_one_run(watched: World) -> None:
    def the_other_comes_first(sent: Sent) -> None:
        if sent.operation == "TransactWriteItems":
            watched.wire.heal()
            watched.watchdog(schedules=True)

    watched.wire.before = the_other_comes_first
    look(watched, LATEST_START + SECOND)
    assert missed(watched) == [RUN]


@pytest.mark.parametrize("number", range(1, 4))
def test_a_watchdog_that_dies_leaves_it_to_the_next_round(watched: World, number: int) -> None:
    watched.clock.set(DUE + LATEST_START + SECOND)
    watched.wire.kill_after(number)
    with pytest.raises(Killed):
        watched.watchdog(schedules=True)
    watched.wire.heal()
    for minute in (1, 2):
        look(watched, LATEST_START + minute * MINUTE)
    assert watched.run().state is RunState.MISSED
    assert watched.job_record().watched_until == DUE
    assert [event["state"] for event in watched.announcements()] == ["missed"]
