"""Lives of runs in batches: a death at any request of one, and whatever becomes of the executions of all.

`make simulate` tries every fault at every request of each.
"""

import json

import pytest

from rollcall.core.actions import Action
from tests.simulation.checks.batch_checks import batches_keep_their_turns, one_execution_after_another
from tests.simulation.checks.checks import violations
from tests.simulation.plays.batch_lives import BATCH_LIVES
from tests.simulation.plays.faults import OF_EXECUTIONS, Fault
from tests.simulation.plays.history import History
from tests.simulation.plays.playing import Played
from tests.simulation.plays.points import CRASHES, Point, play_with, points_of, requests_of

TWO_AT_ONCE = BATCH_LIVES["in batches, two at once"]
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_whoever_dies_at_any_request(part: int) -> None:
    found = {str(point): violations(play_with(TWO_AT_ONCE, point)) for point in _points(*CRASHES)[part::PARTS]}
    assert {point: wrong for point, wrong in found.items() if wrong} == {}


def _points(*kinds: Fault) -> list[Point]:
    return points_of(TWO_AT_ONCE, kinds)


@pytest.mark.parametrize("life", BATCH_LIVES)
def test_a_task_that_is_made_twice_and_an_execution_that_is_aborted(life: str) -> None:
    plan = BATCH_LIVES[life]
    found = {str(point): violations(play_with(plan, point)) for point in points_of(plan, OF_EXECUTIONS)[::3]}
    assert {point: wrong for point, wrong in found.items() if wrong} == {}


def test_whoever_meets_another_in_its_slice_waits() -> None:
    played = [play_with(TWO_AT_ONCE, point) for point in _points(Fault.TASK_TWICE)]
    assert sum(each.log[Action.SLICE_LEASED.value] for each in played) > 0


def test_what_an_aborted_execution_left_is_handled_by_another() -> None:
    played = play_with(TWO_AT_ONCE, _points(Fault.ABORTED)[0])
    executions = list(played.cloud.services.stepfunctions.executions.values())
    assert [each.status for each in executions] == ["ABORTED", "SUCCEEDED"]
    assert executions[1].name == f"{executions[0].name}-1"
    assert played.log[Action.RUN_REPAIRED.value] == 1


def test_executions_are_started_and_asked_about_through_the_gate() -> None:
    operations = {(sent.service, sent.operation) for sent in requests_of(TWO_AT_ONCE)}
    assert {("stepfunctions", "StartExecution"), ("lambda", "Invoke")} <= operations


# --- the checks themselves ---


@pytest.fixture
def played() -> Played:
    return play_with(TWO_AT_ONCE)


def test_a_batch_too_many_at_once_is_seen(played: Played) -> None:
    assert not list(batches_keep_their_turns(History(played)))
    orders = [order for target in played.targets.values() for order in target.orders]
    for order in orders:
        order.at = order.ended = orders[0].at
    assert list(batches_keep_their_turns(History(played)))


def test_an_execution_beside_another_is_seen(played: Played) -> None:
    assert not list(one_execution_after_another(History(played)))
    executions = played.cloud.services.stepfunctions.executions
    (first,) = executions.values()
    again = type(first)(first.arn + "-1", first.name + "-1", first.machine, first.input, first.started, {})
    executions[again.arn] = again
    assert any("was at work" in wrong for wrong in one_execution_after_another(History(played)))


def test_an_execution_that_leaves_out_a_slice_is_seen(played: Played) -> None:
    (execution,) = played.cloud.services.stepfunctions.executions.values()
    execution.input = json.dumps({**json.loads(execution.input), "slices": [0]})
    assert any("the slices of" in wrong for wrong in one_execution_after_another(History(played)))
