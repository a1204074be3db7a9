"""Alarms as they are synthesized, held to the lines that the faults which they are for really write."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import TypeAlias

import pytest

from functions._logs import write_logs
from rollcall import Retry, SourceError, Unanswered, monthly
from rollcall.core.metrics import Metric
from rollcall.core.sizing import LATEST_START
from rollcall.engine.watchdog.run_health import STALLED_AFTER
from stacks.alarms import BREAKER_OPEN_TOO_LONG, RULES
from tests.functional.alarms import OwnAlarm, points, synthesized
from tests.functional.wire import Sent
from tests.functional.workers import fail, state
from tests.functional.world import DAY, DUE, ENVIRONMENT, NAME, World, a_job, entries

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
#: The alarms that go off, by the lines written so far.
Off: TypeAlias = Callable[[], set[str]]


@pytest.fixture(scope="module")
def alarms(tmp_path_factory: pytest.TempPathFactory) -> list[OwnAlarm]:
    """Those of an environment with the world's job and another, which both ask for alarms of their own."""
    jobs = [a_job(own_alarms=True), a_job(own_alarms=True)]
    jobs[1].name = "another-job"
    return synthesized(ENVIRONMENT, jobs, tmp_path_factory.mktemp("cdk.out"))


@pytest.fixture
def log(world: World) -> StringIO:
    """What the functions write, by the formatter that they have in Lambda."""
    del world
    written = StringIO()
    write_logs(ENVIRONMENT, written)
    return written


@pytest.fixture
def off(log: StringIO, alarms: list[OwnAlarm]) -> Off:
    def off() -> set[str]:
        found = points(log.getvalue().splitlines())
        return {alarm.name for alarm in alarms if alarm.goes_off(found)}

    return off


def of_environment(name: str) -> set[str]:
    return {f"rollcall-{ENVIRONMENT}-{name}"}


def of_both(name: str) -> set[str]:
    """The environment's and the job's; not that of the other job."""
    return of_environment(name) | {f"rollcall-{ENVIRONMENT}-{NAME}-{name}"}


def ended(world: World) -> None:
    """A run comes to its end, and the watchdog looks."""
    world.begin(12)
    world.drain()
    world.announce()
    world.watchdog()


# --- a fault for each alarm ---


def an_entry_fails(world: World) -> None:
    world.target.script("D03", then=503)
    ended(world)


def an_entry_is_never_answered(world: World) -> None:
    world.target.script("D03", *[Unanswered("no answer in time")] * 4)
    ended(world)


def a_worker_cannot_handle_a_message(world: World) -> None:
    world.begin(12)
    world.dead_letters(world.batch(3))
    world.watchdog()


def a_report_breaks_off(world: World) -> None:
    world.report = [*entries(3), SourceError("it breaks off")]
    world.start()
    world.watchdog()


def a_schedule_starts_nothing(world: World) -> None:
    """In the second round after that, the run that was put as missed is announced."""
    world.clock.set(DUE - HOUR)
    world.watchdog(schedules=True)
    world.clock.set(DUE + LATEST_START + SECOND)
    world.watchdog(schedules=True)
    world.watchdog(schedules=True)


def a_run_takes_too_long(world: World) -> None:
    world.begin(12)
    world.later(world.job.deadline + SECOND)
    world.work(world.batch(0))
    world.watchdog()


def nothing_is_settled_for_an_hour(world: World) -> None:
    world.begin(12)
    world.later(STALLED_AFTER + SECOND)
    world.watchdog()


def a_target_fails(world: World) -> None:
    world.begin(12)
    fail(world, *range(12))
    world.work(world.batch(*range(10)))
    assert state(world).open_until is not None


def a_target_fails_for_long(world: World) -> None:
    a_target_fails(world)
    world.later(BREAKER_OPEN_TOO_LONG)
    world.watchdog()


def the_watchdog_cannot_read_the_ledger(world: World) -> None:
    def refuses(sent: Sent) -> None:
        if sent.operation == "BatchGetItem":
            raise RuntimeError("the ledger cannot be read")

    world.wire.before = refuses
    with pytest.raises(ExceptionGroup):
        world.watchdog()


FAULTS = {
    "entries-failed": an_entry_fails,
    "entries-unknown": an_entry_is_never_answered,
    "dead-letters": a_worker_cannot_handle_a_message,
    "run-refused": a_report_breaks_off,
    "run-missed": a_schedule_starts_nothing,
    "run-overdue": a_run_takes_too_long,
    "run-stalled": nothing_is_settled_for_an_hour,
    "breaker-open": a_target_fails_for_long,
    "watchdog-silent": the_watchdog_cannot_read_the_ledger,
}


@pytest.mark.parametrize("name", [rule.name for rule in RULES if isinstance(rule.watches, Metric)])
def test_a_fault_sets_off_the_alarm_that_is_for_it_and_no_other(world: World, off: Off, name: str) -> None:
    FAULTS[name](world)
    assert off() == (of_environment(name) if name == "watchdog-silent" else of_both(name))


# --- what else sets them off, and what does not ---


def test_a_run_that_goes_well_is_no_alarm(world: World, off: Off) -> None:
    ended(world)
    assert off() == set()


def test_a_run_with_rejected_entries_is_no_alarm(world: World, off: Off) -> None:
    world.target.script("D03", then=422)
    ended(world)
    assert off() == set()


def test_a_dead_letter_that_belongs_to_no_entry_is_the_environments_alarm(world: World, off: Off) -> None:
    """It may name any job."""
    world.dead_letters([{"messageId": "m", "body": "nonsense"}])
    world.watchdog()
    assert off() == of_environment("dead-letters")


def test_a_run_that_is_not_sealed_within_an_hour_does_not_move(world: World, off: Off) -> None:
    def refuses(sent: Sent) -> None:
        if sent.operation == "PutObject":
            raise RuntimeError("S3 is down")

    world.wire.before = refuses
    with pytest.raises(RuntimeError):
        world.start()
    world.wire.heal()
    world.later(STALLED_AFTER + SECOND)
    world.watchdog()
    assert off() == of_both("run-stalled")


def test_a_monthly_run_that_never_came_is_told_by_the_watchdogs_word(world: World, off: Off) -> None:
    """An alarm on silence could look back for a week at most."""
    world.job.schedule = monthly(DUE.day, "02:30")
    world.clock.set(DUE - 25 * DAY)
    world.watchdog(schedules=True)
    world.clock.set(DUE + LATEST_START + SECOND)
    world.watchdog(schedules=True)
    assert off() == set()
    world.watchdog(schedules=True)
    assert off() == of_both("run-missed")


def test_a_breaker_that_closes_again_is_counted_and_no_alarm(world: World, off: Off, log: StringIO) -> None:
    world.declare(a_job(retry=Retry(retries=8, first=SECOND)))
    for number in range(12):
        world.target.script(f"D{number:02}", 503)
    ended(world)
    assert '"BreakerOpenings":[1.0]' in log.getvalue()
    assert off() == set()


def test_a_breaker_that_has_not_been_open_for_long_is_no_alarm(world: World, off: Off) -> None:
    a_target_fails(world)
    world.later(BREAKER_OPEN_TOO_LONG - SECOND)
    world.watchdog()
    assert off() == set()


def test_a_watchdog_that_does_not_run_is_an_alarm(off: Off) -> None:
    assert off() == of_environment("watchdog-silent")
