"""Metrics: what each log line measures, counted once where it becomes true."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest

from functions._logs import write_logs
from rollcall import Outcome, Overlap, Unanswered
from rollcall.adapters.ledger import runs
from rollcall.core.actions import Action, log
from rollcall.core.metrics import ENVIRONMENT, JOB, NAMESPACE, Metric
from rollcall.core.run import run_id
from tests.functional.alarms import Series, points
from tests.functional.wire import Killed, Sent
from tests.functional.workers import fail, state
from tests.functional.world import DAY, DUE, NAME, RUN, World, a_job
from tests.functional.world import ENVIRONMENT as TEST

MINUTE = timedelta(minutes=1)
TOMORROW = run_id(NAME, DUE + DAY)


class Written:
    """What the functions of a story have written."""

    def __init__(self) -> None:
        self._text = StringIO()
        write_logs(TEST, self._text)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._text.getvalue().splitlines()]

    def of(self, metric: Metric, **dimensions: str) -> list[float]:
        """The values of a metric, by default the world's job's."""
        series = Series(NAMESPACE, metric.value, frozenset((dimensions or {ENVIRONMENT: TEST, JOB: NAME}).items()))
        return points(self._text.getvalue().splitlines()).get(series, [])

    @property
    def measured(self) -> dict[Metric, float]:
        """The sums of all metrics of the world's job that there are."""
        return {metric: sum(values) for metric in Metric if (values := self.of(metric))}


@pytest.fixture
def written(world: World) -> Written:
    del world
    return Written()


# --- lines ---


def test_a_metric_is_there_once_for_the_environment_and_once_for_the_job_and_for_nothing_else(written: Written) -> None:
    log(Action.RUN_STARTED, run=RUN, job=NAME)
    (line,) = written.lines
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == NAMESPACE
    assert directive["Dimensions"] == [[ENVIRONMENT], [ENVIRONMENT, JOB]]
    assert directive["Metrics"] == [{"Name": "RunsStarted", "Unit": "Count"}]
    assert written.of(Metric.RUNS_STARTED, environment=TEST) == [1.0]
    assert written.of(Metric.RUNS_STARTED, environment=TEST, job=NAME) == [1.0]


def test_a_service_of_powertools_is_no_dimension(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "somebody's")
    log(Action.RUN_STARTED, run=RUN, job=NAME)
    assert written.lines[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [[ENVIRONMENT], [ENVIRONMENT, JOB]]


def test_a_line_that_measures_nothing_is_plain(written: Written) -> None:
    log(Action.RUN_SEALED, run=RUN, job=NAME, total=3)
    (line,) = written.lines
    assert "_aws" not in line
    assert (line["action"], line["run"], line["job"], line["environment"]) == ("run.sealed", RUN, NAME, TEST)


def test_a_line_about_a_run_names_its_job_and_one_about_nonsense_is_written_all_the_same(written: Written) -> None:
    log(Action.ENTRY_SUSPECT, run=RUN, index=0)
    log(Action.MESSAGE_DROPPED, run="nonsense", reason="it is none")
    assert [line.get("job") for line in written.lines] == [NAME, None]


def test_a_run_can_be_followed_from_its_schedule_to_its_callback_and_its_end(world: World, written: Written) -> None:
    world.target.script("D01", 503)
    world.begin(3)
    world.drain()
    world.announce()
    told = [line["action"] for line in written.lines if line["run"] == RUN and line["job"] == NAME]
    assert told == ["run.started", "run.sealed", "run.dispatched", "entry.retry", "run.complete", "run.announced"]
    (retry,) = (line for line in written.lines if line["action"] == "entry.retry")
    assert (retry["index"], retry["attempt"], retry["error"]) == (1, 1, "http_503")


# --- runs ---


def test_a_run_is_counted_with_its_entries_by_outcome_when_its_end_is_announced(world: World, written: Written) -> None:
    world.target.script("D01", then=422)
    world.target.script("D02", then=503)
    world.target.script("D03", *[Unanswered("no answer in time")] * 4)
    world.begin(12)
    world.drain()
    assert written.measured == {Metric.RUNS_STARTED: 1}
    world.announce()
    took = round((world.clock.now() - DUE).total_seconds(), 3)
    assert written.measured == {
        Metric.RUNS_STARTED: 1,
        Metric.RUNS_COMPLETED: 1,
        Metric.RUN_DURATION: took,
        Metric.ENTRIES_SUCCEEDED: 9,
        Metric.ENTRIES_REJECTED: 1,
        Metric.ENTRIES_FAILED: 1,
        Metric.ENTRIES_UNKNOWN: 1,
    }


def test_an_end_that_is_delivered_again_is_not_counted_again(world: World, written: Written) -> None:
    world.begin(3)
    world.drain()
    for _ in range(3):
        world.announce()
        world.watchdog()
    assert written.of(Metric.RUNS_COMPLETED) == [1.0]


def test_two_announcers_at_once_count_an_end_once(world: World, written: Written) -> None:
    """One of them takes so long that another takes its claim over."""
    world.begin(3)
    world.drain()

    def slow(_: object) -> None:
        world.hook = None
        world.later(runs.ANNOUNCEMENT_LEASE + timedelta(seconds=1))
        world.announce()

    world.hook = slow
    world.announce()
    assert len(world.announcements()) == 2
    assert written.of(Metric.RUNS_COMPLETED) == [1.0]


def notes(sent: Sent) -> bool:
    """Whether it is noted that an end was announced; a claim only sets fields."""
    return sent.operation == "UpdateItem" and "REMOVE" in sent.fields["UpdateExpression"]


def test_an_announcer_whose_note_is_answered_only_the_second_time_counts_the_end(
    world: World, written: Written
) -> None:
    world.begin(3)
    world.drain()
    world.wire.reset()
    answered = False

    def again(sent: Sent) -> None:
        """The SDK sends the note twice, for its first answer is lost."""
        nonlocal answered
        if notes(sent) and not answered:
            answered = True
            world.clients.dynamodb.update_item(**sent.fields)

    world.wire.before = again
    world.announce()
    assert answered
    assert world.run().announced
    assert written.of(Metric.RUNS_COMPLETED) == [1.0]


@pytest.mark.parametrize(("dies_at", "counted"), [("the renewal of its claim", 0), ("its note", 1)])
def test_an_end_is_counted_at_least_once_and_twice_where_its_announcer_dies_between_line_and_note(
    world: World, written: Written, dies_at: str, counted: int
) -> None:
    world.begin(3)
    world.drain()
    world.wire.reset()

    def dies(sent: Sent) -> None:
        renews = sent.operation == "UpdateItem" and not notes(sent) and bool(world.wire.of("PutEvents"))
        if renews if dies_at == "the renewal of its claim" else notes(sent):
            raise Killed(str(sent))

    world.wire.before = dies
    with pytest.raises(Killed):
        world.announce()
    world.wire.heal()
    assert written.of(Metric.RUNS_COMPLETED) == [1.0] * counted
    world.later(runs.ANNOUNCEMENT_LEASE + MINUTE)
    world.watchdog()
    assert written.of(Metric.RUNS_COMPLETED) == [1.0] * (counted + 1)
    world.watchdog()
    assert written.of(Metric.RUNS_COMPLETED) == [1.0] * (counted + 1)


def test_a_duplicate_start_is_no_other_run(world: World, written: Written) -> None:
    world.begin(3)
    assert world.start() is None
    assert written.of(Metric.RUNS_STARTED) == [1.0]


def test_a_redrive_is_a_start_and_an_end_of_its_own_with_its_own_entries(world: World, written: Written) -> None:
    world.target.script("D01", *[503] * 4)
    world.begin(3)
    world.drain()
    world.announce()
    world.redrive(outcomes=[Outcome.FAILED])
    world.drain()
    world.announce()
    assert written.of(Metric.RUNS_STARTED) == written.of(Metric.RUNS_COMPLETED) == [1.0, 1.0]
    assert written.of(Metric.ENTRIES_SUCCEEDED) == [2.0, 1.0]
    assert written.of(Metric.ENTRIES_FAILED) == [1.0]


def test_a_skipped_run_is_counted_and_none_was_started(world: World, written: Written) -> None:
    world.declare(a_job(overlap=Overlap.SKIP))
    world.begin(3)
    world.start(DUE + DAY)
    world.announce(TOMORROW)
    assert written.measured == {Metric.RUNS_STARTED: 1, Metric.RUNS_SKIPPED: 1}


def test_a_cancelled_run_is_counted_with_what_was_not_called(world: World, written: Written) -> None:
    world.begin(3)
    world.work(world.batch(0))
    world.cancel()
    world.drain()
    world.announce()
    assert written.measured == {
        Metric.RUNS_STARTED: 1,
        Metric.RUNS_CANCELLED: 1,
        Metric.ENTRIES_SUCCEEDED: 1,
        Metric.ENTRIES_CANCELLED: 2,
    }


# --- what the watchdog sees ---


def test_what_is_held_and_how_old_the_oldest_unsettled_entry_is(world: World, written: Written) -> None:
    world.begin(12)
    world.work(world.batch(0, 1))
    world.work(world.batch(2, 3, 4), time=timedelta(seconds=1))
    world.later(10 * MINUTE)
    world.watchdog()
    assert written.of(Metric.ENTRIES_HELD) == [3.0]
    assert written.of(Metric.OLDEST_UNSETTLED_ENTRY) == [600.0]


def test_a_run_that_is_settled_and_not_yet_ended_has_no_oldest_entry(world: World, written: Written) -> None:
    world.begin(3)

    def dies(sent: Sent) -> None:
        if sent.operation == "UpdateItem" and sent.key == f"run#{RUN}":
            raise Killed(str(sent))

    world.wire.before = dies
    with pytest.raises(Killed):
        world.work(world.batch(0, 1, 2))
    world.wire.heal()
    world.later(10 * MINUTE)
    world.watchdog()
    assert written.of(Metric.OLDEST_UNSETTLED_ENTRY) == [0.0]


def test_a_breaker_is_looked_at_while_a_run_may_wait_for_it_and_not_else(world: World, written: Written) -> None:
    world.watchdog()
    assert not any("target#accounting" in str(sent.fields) for sent in world.wire.sent)
    world.begin(3)
    world.wire.reset()
    world.watchdog()
    assert any("target#accounting" in str(sent.fields) for sent in world.wire.sent)
    assert written.of(Metric.BREAKER_OPEN) == []


def test_an_opening_is_counted_for_the_job_whose_worker_found_its_target_failing(
    world: World, written: Written
) -> None:
    world.begin(12)
    fail(world, *range(12))
    world.work(world.batch(*range(10)))
    assert state(world).open_until is not None
    assert written.of(Metric.BREAKER_OPENINGS) == [1.0]


def test_a_round_is_the_environments_and_no_jobs(world: World, written: Written) -> None:
    world.watchdog()
    assert written.of(Metric.WATCHDOG_ROUNDS, environment=TEST) == [1.0]
    assert written.of(Metric.WATCHDOG_ROUNDS) == []
