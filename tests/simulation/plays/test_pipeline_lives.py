"""Lives of a pipeline: each as it is, and with something that goes wrong at every so many of its requests."""

import pytest

from tests.simulation.plays.faults import OF_EXECUTIONS, Fault, Faults
from tests.simulation.plays.pipeline_lives import PIPELINE_LIVES, PipelineLife, play_pipeline, violations
from tests.simulation.plays.points import ANSWERS, CRASHES, Point

#: How many points lie between two that are tried here.
EVERY = 11


def _points(life: PipelineLife, kinds: tuple[Fault, ...]) -> list[Point]:
    requests = enumerate(play_pipeline(life).faults.requests, 1)
    return [Point(number, kind) for number, sent in requests for kind in kinds if Faults.concerns(kind, sent)]


@pytest.mark.parametrize("life", PIPELINE_LIVES.values(), ids=PIPELINE_LIVES)
def test_a_life_without_deaths(life: PipelineLife) -> None:
    assert violations(play_pipeline(life)) == []


@pytest.mark.parametrize("life", PIPELINE_LIVES.values(), ids=PIPELINE_LIVES)
def test_whatever_goes_wrong(life: PipelineLife) -> None:
    points = _points(life, (*CRASHES, *ANSWERS))[::EVERY]
    found = {str(point): violations(play_pipeline(life, point)) for point in points}
    assert {point: wrong for point, wrong in found.items() if wrong} == {}


def test_a_step_that_is_made_twice_and_an_execution_that_is_aborted() -> None:
    life = PIPELINE_LIVES["a pipeline over a queue"]
    found = {str(point): violations(play_pipeline(life, point)) for point in _points(life, OF_EXECUTIONS)}
    assert {point: wrong for point, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.MADE_TWICE, Fault.THROTTLED])
def test_an_answer_that_is_lost_or_given_twice_resumes_the_state_machine_once(fault: Fault) -> None:
    life = PIPELINE_LIVES["a pipeline over a queue"]
    answers = [
        number
        for number, sent in enumerate(play_pipeline(life).faults.requests, 1)
        if sent.operation == "SendTaskSuccess"
    ]
    assert answers
    for number in answers:
        played = play_pipeline(life, Point(number, fault))
        assert violations(played) == []
        assert len(played.calls["write-down"]) == 1
