"""What runs in batches promise beside everything else: turns, pauses, and one execution after another."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from rollcall.core.actions import Action
from rollcall.core.batches import Batches
from rollcall.core.names import execution_name
from rollcall.core.run import OPEN, RunRecord, RunState, job_of
from tests.simulation.models.stepfunctions import Execution
from tests.simulation.plays.counterparty import BUSY_SECONDS, POISON, Ordered
from tests.simulation.plays.faults import Fault
from tests.simulation.plays.history import History

BUSY = 429


@dataclass(frozen=True, slots=True)
class Turn:
    """The time in which a batch has its turn: from its first call to the end of the pause after its last."""

    number: int
    since: float
    until: float

    def __str__(self) -> str:
        return f"batch {self.number} from {self.since:.3f} to {self.until:.3f}"


def batches_keep_their_turns(history: History) -> Iterator[str]:
    """Never more than `at_once` at work at the same time, and the pause between them."""
    if not history.played.calm:
        return
    for run, batches, turns in _turns(history):
        for turn in turns:
            at_work = [other for other in turns if other.since <= turn.since < other.until]
            if len(at_work) > batches.at_once:
                yield f"{run.id}/{run.generation}: {'; '.join(map(str, at_work))}"


def _turns(history: History) -> Iterator[tuple[RunRecord, Batches, list[Turn]]]:
    orders: dict[tuple[str, int], dict[int, list[Ordered]]] = defaultdict(lambda: defaultdict(list))
    runs: dict[tuple[str, int], RunRecord] = {}
    for told in history.told():
        if told.plan.batches is None or POISON & told.plan.mishaps.keys():
            continue
        runs[told.run.id, told.run.generation] = told.run
        orders[told.run.id, told.run.generation][told.index // told.plan.batches.size] += told.orders
    for name, run in runs.items():
        batches = history.plans[run.job].batches
        assert batches is not None
        # What is left of a cancelled run goes by without pauses.
        pause = 0.0 if run.id in history.played.cancelled else batches.pause.total_seconds()
        yield run, batches, [_turn(number, made, pause) for number, made in orders[name].items() if made]


def _turn(number: int, orders: list[Ordered], pause: float) -> Turn:
    ends = [order.ended or order.at for order in orders]
    return Turn(number, min(order.at for order in orders).timestamp(), max(ends).timestamp() + pause)


def a_busy_target_is_left_alone(history: History) -> Iterator[str]:
    """No entry of a batch comes back before its target's Retry-After, whoever is asked to handle its slice again."""
    played = history.played
    if played.frozen or played.faults.counts[Fault.CLOCK_SKEW]:
        return
    for (run, _, reference), orders in history.orders.items():
        if history.plans[job_of(run)].batches is None:
            continue
        for one, other in pairwise(orders):
            if one.status == BUSY and one.ended and other.at < one.ended + timedelta(seconds=BUSY_SECONDS):
                yield f"{reference} came too early: {one}, {other}"


def one_execution_after_another(history: History) -> Iterator[str]:
    """One is started for each generation, and another only for what one that has ended left."""
    executions: dict[tuple[str, int], list[Execution]] = defaultdict(list)
    for execution in history.played.cloud.services.stepfunctions.executions.values():
        given = json.loads(execution.input)
        executions[given["run"], given["generation"]].append(execution)
    for (run, generation), found in executions.items():
        names = [execution_name(run, generation, number) for number in range(len(found))]
        if [each.name for each in found] != names:
            yield f"{run}/{generation} had the executions {[each.name for each in found]}"
        for one, other in pairwise(found):
            if one.stopped is None or other.started < one.stopped:
                yield f"{other.name} began while {one.name} was at work"
        yield from _begun_rightly(history, run, generation, found[0])
        if len(found) > 1 and history.played.calm and not POISON & history.plans[history.runs[run].job].mishaps.keys():
            yield f"{run}/{generation} was repaired, and nothing went wrong: {[each.name for each in found]}"


def _begun_rightly(history: History, run: str, generation: int, first: Execution) -> Iterator[str]:
    state, _ = history.played.audit.state_at(run, generation, first.started)
    if state not in OPEN | {RunState.CANCELLING} and not history.played.frozen:
        yield f"{first.name} began while its run was {state}"
    record = next((each for each in history.runs[run].generations if each.generation == generation), None)
    batches = history.plans[history.runs[run].job].batches
    if record is None or batches is None:
        yield f"{first.name} is the execution of no sealed run in batches"
    elif json.loads(first.input)["slices"] != list(range(batches.slices(record.total))):
        yield f"{first.name} has {record.total} entries, and the slices of {first.input}"


def executions_end_well(history: History) -> Iterator[str]:
    """Each ends, and well where nobody does it any harm; and nobody meets another in its slice."""
    played = history.played
    for execution in played.cloud.services.stepfunctions.executions.values():
        if execution.at_work or (played.calm and execution.status != "SUCCEEDED"):
            yield f"{execution.name} is {execution.status}: {execution.error}, {execution.cause}"
        if execution.status == "FAILED":
            yield f"{execution.name} failed: {execution.error}, {execution.cause}"
    poisoned = any(POISON & plan.mishaps.keys() for plan in history.plans.values())
    if played.calm and not poisoned and (met := played.log[Action.SLICE_LEASED.value]):
        yield f"{met} slices were in other hands"
