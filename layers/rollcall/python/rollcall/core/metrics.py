"""The metrics: their names, units and dimensions, and the log events that measure them.

Emitter, alarms and dashboards have them from here. Nobody emits a metric by itself: the log line of such an event
carries it, so it is counted where the fact becomes true. docs/metrics.md tells people what each one means.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from rollcall.core.actions import Action
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunState

NAMESPACE = "Rollcall"
#: Every metric is there once for the environment and once for each job; never by run or entry, for each set is paid.
ENVIRONMENT = "environment"
JOB = "job"


class Unit(StrEnum):
    """As CloudWatch spells it."""

    COUNT = "Count"
    SECONDS = "Seconds"


class Metric(StrEnum):
    """What is measured, by its name in CloudWatch."""

    RUNS_STARTED = "RunsStarted"
    RUNS_COMPLETED = "RunsCompleted"
    RUNS_REFUSED = "RunsRefused"
    RUNS_SKIPPED = "RunsSkipped"
    RUNS_CANCELLED = "RunsCancelled"
    RUNS_MISSED = "RunsMissed"
    RUN_DURATION = "RunDuration"
    RUNS_OVERDUE = "RunsOverdue"
    RUNS_STALLED = "RunsStalled"
    ENTRIES_SUCCEEDED = "EntriesSucceeded"
    ENTRIES_REJECTED = "EntriesRejected"
    ENTRIES_FAILED = "EntriesFailed"
    ENTRIES_UNKNOWN = "EntriesUnknown"
    ENTRIES_CANCELLED = "EntriesCancelled"
    ENTRIES_HELD = "EntriesHeld"
    OLDEST_UNSETTLED_ENTRY = "OldestUnsettledEntry"
    DEAD_LETTERS = "DeadLetters"
    BREAKER_OPENINGS = "BreakerOpenings"
    BREAKER_OPEN = "BreakerOpen"
    WATCHDOG_ROUNDS = "WatchdogRounds"

    @property
    def unit(self) -> Unit:
        return Unit.SECONDS if self in _IN_SECONDS else Unit.COUNT


_IN_SECONDS = frozenset({Metric.RUN_DURATION, Metric.OLDEST_UNSETTLED_ENTRY, Metric.BREAKER_OPEN})

#: Events that count one.
_COUNTED = {
    Action.RUN_STARTED: Metric.RUNS_STARTED,
    Action.RUN_REDRIVEN: Metric.RUNS_STARTED,
    Action.RUN_OVERDUE: Metric.RUNS_OVERDUE,
    Action.RUN_UNSEALED: Metric.RUNS_STALLED,
    Action.RUN_STALLED: Metric.RUNS_STALLED,
    Action.DEAD_LETTER_SETTLED: Metric.DEAD_LETTERS,
    Action.BREAKER_OPENED: Metric.BREAKER_OPENINGS,
    Action.WATCHDOG_ROUND: Metric.WATCHDOG_ROUNDS,
}
#: Events that say how much, and in which field.
_READ = {
    Action.RUN_PROGRESS: {Metric.ENTRIES_HELD: "held", Metric.OLDEST_UNSETTLED_ENTRY: "oldest_seconds"},
    Action.BREAKER_OPEN: {Metric.BREAKER_OPEN: "open_seconds"},
}
_ENDS = {
    RunState.COMPLETE: Metric.RUNS_COMPLETED,
    RunState.REFUSED: Metric.RUNS_REFUSED,
    RunState.SKIPPED: Metric.RUNS_SKIPPED,
    RunState.CANCELLED: Metric.RUNS_CANCELLED,
    RunState.MISSED: Metric.RUNS_MISSED,
}
_OUTCOMES = {
    Outcome.SUCCEEDED: Metric.ENTRIES_SUCCEEDED,
    Outcome.REJECTED: Metric.ENTRIES_REJECTED,
    Outcome.FAILED: Metric.ENTRIES_FAILED,
    Outcome.UNKNOWN: Metric.ENTRIES_UNKNOWN,
    Outcome.CANCELLED: Metric.ENTRIES_CANCELLED,
}


def measured(event: Mapping[str, Any]) -> dict[Metric, float]:
    """What a log event, given by its fields, measures: nothing, as a rule."""
    action = event.get("action")
    if action in _COUNTED:
        return {_COUNTED[action]: 1}
    if action in _READ:
        return {metric: event[name] for metric, name in _READ[action].items()}
    if action == Action.RUN_ANNOUNCED:
        return _of_end(event)
    if action == Action.MESSAGE_DROPPED and "kept" in event:
        return {Metric.DEAD_LETTERS: 1}
    return {}


def _of_end(event: Mapping[str, Any]) -> dict[Metric, float]:
    """A run's end, and its entries by outcome: as the ledger has them, which is exact. Zeros are left out: each metric
    is paid for the hours in which it is written.
    """
    state = RunState(event["state"])
    found: dict[Metric, float] = {_ENDS[state]: 1}
    if state is RunState.COMPLETE:
        found[Metric.RUN_DURATION] = event["duration_seconds"]
    return found | {_OUTCOMES[Outcome(name)]: count for name, count in event["outcomes"].items() if count}
