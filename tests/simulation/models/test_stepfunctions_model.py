"""The model of Step Functions and the emulators, told the same stories; moto executes no states."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import Any

import pytest

from rollcall.core.batches import MOST_EVENTS, Batches, definition
from rollcall.core.values import Json
from tests.simulation.models import differences, story_functions
from tests.simulation.models.states_language import StateFailed
from tests.simulation.models.stepfunctions import Execution
from tests.simulation.models.stories import Side, new_name, refused
from tests.simulation.models.story_functions import ARN, FunctionFailed
from tests.simulation.models.virtual_time import VirtualLoop

ROLE = "arn:aws:iam::000000000000:role/story"
NOTHING = {"StartAt": "End", "States": {"End": {"Type": "Pass", "End": True}}}
#: An emulator's threads are given so long.
PATIENCE_SECONDS = 10.0


@dataclass
class Machines:
    """The state machines of a side, and how time passes there."""

    side: Side
    loop: VirtualLoop

    def make(self, states: dict[str, Any]) -> str:
        made = self.side.stepfunctions.create_state_machine(
            name=new_name("machine"), definition=json.dumps(states), roleArn=ROLE
        )
        return str(made["stateMachineArn"])

    def start(self, machine: str, given: Json = None, name: str | None = None) -> str:
        started = self.side.stepfunctions.start_execution(
            stateMachineArn=machine, name=name or new_name("execution"), input=json.dumps(given or {})
        )
        return str(started["executionArn"])

    def described(self, execution: str) -> dict[str, Any]:
        found: dict[str, Any] = self.side.stepfunctions.describe_execution(executionArn=execution)
        return found

    def status(self, execution: str) -> str:
        return str(self.described(execution)["status"])

    def end(self, execution: str) -> dict[str, Any]:
        """The execution's description, once it has ended."""
        until = time.monotonic() + PATIENCE_SECONDS
        while (found := self.described(execution))["status"] == "RUNNING":
            assert time.monotonic() < until, f"{found} does not end"
            self.pass_time(1.0)
        return found

    def pass_time(self, seconds: float) -> None:
        if self.side.services is None:
            time.sleep(0.01)
        else:
            self.loop.run_until_complete(asyncio.sleep(seconds))

    def output(self, states: dict[str, Any], given: Json = None) -> Any:
        """What an execution of them comes to."""
        found = self.end(self.start(self.make(states), given))
        assert found["status"] == "SUCCEEDED", found
        return json.loads(found["output"])


async def _call(function: str, execution: Execution, payload: Json) -> Json:
    del execution
    assert isinstance(payload, dict)
    if function == f"{ARN}waits":
        await asyncio.sleep(inf)
    try:
        return story_functions.call(function.removeprefix(ARN), payload)
    except FunctionFailed as error:
        raise StateFailed("Lambda.Unknown", str(error)) from error


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        found = runner.get_loop()
        assert isinstance(found, VirtualLoop)
        yield found


def _machines(side: Side, loop: VirtualLoop) -> Machines:
    if side.services is not None:
        side.services.stepfunctions.launch = loop.create_task
        side.services.stepfunctions.invoke = _call
    return Machines(side, loop)


@pytest.fixture
def machines(side: Side, loop: VirtualLoop) -> Machines:
    return _machines(side, loop)


@pytest.fixture(params=["model", "ministack"])
def executing(request: pytest.FixtureRequest, loop: VirtualLoop) -> Machines:
    """Those that execute states."""
    return _machines(request.getfixturevalue(request.param), loop)


@pytest.fixture
def modelled(model: Side, loop: VirtualLoop) -> Machines:
    """The model alone: waits take their time there."""
    return _machines(model, loop)


@pytest.fixture
def stuck() -> Iterator[dict[str, Any]]:
    """States that do not end while a story is told."""
    story_functions.let_go.clear()
    yield _one(_task("waits"))
    story_functions.let_go.set()


def _task(function: str, **more: Any) -> dict[str, Any]:
    parameters = {"FunctionName": ARN + function, "Payload.$": "$"}
    return {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": parameters, **more}


def _one(state: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": "State", "States": {"State": {**state, "End": True}}}


# --- names ---


def test_an_execution_is_described_as_it_was_started(machines: Machines) -> None:
    machine = machines.make(NOTHING)
    execution = machines.start(machine, {"a": 1}, "one")
    assert execution == f"{machine.replace(':stateMachine:', ':execution:')}:one"
    found = machines.described(execution)
    assert (found["name"], found["stateMachineArn"], json.loads(found["input"])) == ("one", machine, {"a": 1})


def test_a_name_is_an_execution_of_one_state_machine(machines: Machines) -> None:
    one, other = machines.make(NOTHING), machines.make(NOTHING)
    assert machines.start(one, name="twin") != machines.start(other, name="twin")


def test_the_same_start_again_is_the_same_execution_while_that_runs(machines: Machines, stuck: dict[str, Any]) -> None:
    machine = machines.make(stuck)
    first = machines.start(machine, {"a": 1}, "again")
    seen = refused(lambda: machines.start(machine, {"a": 1}, "again"))
    assert seen == machines.side.expected(differences.SAME_EXECUTION, "", ministack="ExecutionAlreadyExists")
    assert machines.status(first) == "RUNNING"


def test_a_name_with_another_input_is_taken(machines: Machines, stuck: dict[str, Any]) -> None:
    machine = machines.make(stuck)
    machines.start(machine, {"a": 1}, "taken")
    assert refused(lambda: machines.start(machine, {"a": 2}, "taken")) == "ExecutionAlreadyExists"
    with pytest.raises(machines.side.stepfunctions.exceptions.ExecutionAlreadyExists):
        machines.start(machine, {"a": 2}, "taken")


def test_the_name_of_an_ended_execution_is_taken(machines: Machines, stuck: dict[str, Any]) -> None:
    machine = machines.make(stuck)
    machines.side.stepfunctions.stop_execution(executionArn=machines.start(machine, name="over"))
    assert refused(lambda: machines.start(machine, name="over")) == "ExecutionAlreadyExists"


@pytest.mark.parametrize("name", ["a:b", "a b", "a*"])
def test_a_name_has_no_colon(machines: Machines, name: str) -> None:
    seen = refused(lambda: machines.start(machines.make(NOTHING), name=name))
    assert seen == machines.side.expected(differences.NAMES, "InvalidName", ministack="")


def test_a_name_has_80_characters_at_most(machines: Machines) -> None:
    machine = machines.make(NOTHING)
    machines.start(machine, name="x" * 80)
    seen = refused(lambda: machines.start(machine, name="x" * 81))
    assert seen == machines.side.expected(differences.LONG_NAMES, "ValidationException", ministack="")


def test_an_input_is_json(machines: Machines) -> None:
    machine = machines.make(NOTHING)
    start = machines.side.stepfunctions.start_execution
    seen = refused(lambda: start(stateMachineArn=machine, name="text", input="no JSON"))
    assert seen == machines.side.expected(differences.INPUT, "InvalidExecutionInput", ministack="")


def test_what_is_not_there_is_told(machines: Machines) -> None:
    machine = machines.make(NOTHING)
    nobody = f"{machine.replace(':stateMachine:', ':execution:')}:nobody"
    assert refused(lambda: machines.start(machine + "x")) == "StateMachineDoesNotExist"
    assert refused(lambda: machines.described(nobody)) == "ExecutionDoesNotExist"
    assert refused(lambda: machines.side.stepfunctions.stop_execution(executionArn=nobody)) == "ExecutionDoesNotExist"
    with pytest.raises(machines.side.stepfunctions.exceptions.ExecutionDoesNotExist):
        machines.described(nobody)


def test_an_execution_that_is_stopped_is_aborted(machines: Machines, stuck: dict[str, Any]) -> None:
    execution = machines.start(machines.make(stuck))
    assert machines.status(execution) == "RUNNING"
    machines.side.stepfunctions.stop_execution(executionArn=execution)
    assert machines.status(execution) == "ABORTED"
    machines.pass_time(10)
    assert machines.status(execution) == "ABORTED"


# --- states ---


def test_a_pass_gives_on_what_it_got_or_its_result(executing: Machines) -> None:
    assert executing.output(_one({"Type": "Pass"}), {"a": 1}) == {"a": 1}
    assert executing.output(_one({"Type": "Pass", "Result": {}}), {"a": 1}) == {}
    assert executing.output(_one({"Type": "Pass", "Result": 2, "ResultPath": "$.b.c"}), {"a": 1}) == {
        "a": 1,
        "b": {"c": 2},
    }


@pytest.mark.parametrize(("again", "end"), [(True, "yes"), (False, "no"), ("true", "no")])
def test_a_choice_goes_by_the_first_rule_that_holds(executing: Machines, again: Json, end: str) -> None:
    states = {
        "StartAt": "Which",
        "States": {
            "Which": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.answer.again", "BooleanEquals": True, "Next": "Yes"}],
                "Default": "No",
            },
            "Yes": {"Type": "Pass", "Result": "yes", "End": True},
            "No": {"Type": "Pass", "Result": "no", "End": True},
        },
    }
    assert executing.output(states, {"answer": {"again": again}}) == end


def test_a_task_invokes_a_function_and_picks_from_its_answer(executing: Machines) -> None:
    story = new_name("story")
    task = _task("echo", ResultSelector={"call.$": "$.Payload.call", "by": "echo"}, ResultPath="$.answer")
    assert executing.output(_one(task), {"story": story}) == {"story": story, "answer": {"call": 1, "by": "echo"}}


def test_what_fails_is_tried_again_so_often(executing: Machines) -> None:
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2, "BackoffRate": 2, "MaxAttempts": 3}]
    task = _task("recovers", Retry=retry, ResultSelector={"call.$": "$.Payload.call"})
    given: dict[str, Json] = {"story": new_name("story"), "failures": 3}
    assert executing.output(_one(task), given) == {"call": 4}


def test_what_fails_for_good_is_caught_or_fails_the_execution(executing: Machines) -> None:
    story = new_name("story")
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "BackoffRate": 2, "MaxAttempts": 2}]
    caught = [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "Caught"}]
    states = {
        "StartAt": "Call",
        "States": {
            "Call": _task("fails", Retry=retry, Catch=caught, End=True),
            "Caught": {"Type": "Pass", "End": True},
        },
    }
    assert executing.output(states, {"story": story}) == {"story": story}
    assert story_functions.calls(story) == 3
    found = executing.end(executing.start(executing.make(_one(_task("fails", Retry=retry))), {"story": story}))
    assert (found["status"], found["error"]) == ("FAILED", "Lambda.Unknown")
    assert story_functions.calls(story) == 6


def test_a_map_goes_over_items_and_keeps_their_order(executing: Machines) -> None:
    states = _one(
        {
            "Type": "Map",
            "ItemsPath": "$.slices",
            "ItemSelector": {"run.$": "$.run", "slice.$": "$$.Map.Item.Value", "number.$": "$$.Map.Item.Index"},
            "MaxConcurrency": 2,
            "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, **_one({"Type": "Pass"})},
            "ResultPath": "$.done",
        }
    )
    found = executing.output(states, {"run": "r", "slices": [7, 5, 6]})
    assert found["done"] == [{"run": "r", "slice": each, "number": number} for number, each in enumerate((7, 5, 6))]


def test_an_iteration_that_fails_fails_its_map(executing: Machines) -> None:
    fail = {"Type": "Fail", "Error": "Broken", "Cause": "on purpose"}
    processor = {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "State", "States": {"State": fail}}
    states = _one({"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 1, "ItemProcessor": processor})
    found = executing.end(executing.start(executing.make(states), {"items": [1, 2]}))
    assert (found["status"], found["error"]) == ("FAILED", "Broken")


def _waiting_task(story: str, **more: Any) -> dict[str, Any]:
    parameters = {"FunctionName": f"{ARN}keeps_token", "Payload": {"story": story, "token.$": "$$.Task.Token"}}
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Parameters": parameters,
        **more,
    }


def _token(machines: Machines, story: str) -> str:
    """The token, once the function has it."""
    until = time.monotonic() + PATIENCE_SECONDS
    while story not in story_functions.tokens:
        assert time.monotonic() < until, f"{story} never got a token"
        machines.pass_time(0.1)
    return story_functions.tokens[story]


def test_a_task_waits_until_its_token_is_answered(executing: Machines) -> None:
    story = new_name("story")
    execution = executing.start(executing.make(_one(_waiting_task(story, ResultPath="$.ended"))), {"a": 1})
    token = _token(executing, story)
    assert executing.status(execution) == "RUNNING"
    executing.side.stepfunctions.send_task_success(taskToken=token, output='{"total": 3}')
    assert json.loads(executing.end(execution)["output"]) == {"a": 1, "ended": {"total": 3}}


def test_a_token_is_answered_with_a_failure(executing: Machines) -> None:
    story = new_name("story")
    caught = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.ended", "Next": "Caught"}]
    task = _waiting_task(story, Catch=caught, End=True)
    states = {"StartAt": "Call", "States": {"Call": task, "Caught": {"Type": "Pass", "End": True}}}
    execution = executing.start(executing.make(states), {"a": 1})
    executing.side.stepfunctions.send_task_failure(taskToken=_token(executing, story), error="No", cause="because")
    assert json.loads(executing.end(execution)["output"]) == {"a": 1, "ended": {"Error": "No", "Cause": "because"}}


def test_a_token_is_used_up_with_its_answer(executing: Machines) -> None:
    story = new_name("story")
    execution = executing.start(executing.make(_one(_waiting_task(story))))
    token = _token(executing, story)
    send = executing.side.stepfunctions.send_task_success
    send(taskToken=token, output="{}")
    executing.end(execution)
    seen = refused(lambda: send(taskToken=token, output="{}"))
    assert seen == executing.side.expected(differences.USED_TOKEN, "TaskTimedOut", ministack="TaskDoesNotExist")


def test_a_token_that_nobody_gave_out_is_refused(executing: Machines) -> None:
    seen = refused(lambda: executing.side.stepfunctions.send_task_success(taskToken="nobody's", output="{}"))
    assert seen == executing.side.expected(differences.NO_TOKEN, "InvalidToken", ministack="TaskDoesNotExist")


def test_our_own_definition_goes_over_all_slices(executing: Machines) -> None:
    """Its function is asked once for each; the pause comes from the answer."""
    story = new_name("story")
    batches = Batches(size=1, at_once=2, pause=timedelta(seconds=1), most_entries=10)
    text = json.dumps(definition(batches, ARN + "settles"))
    given: dict[str, Json] = {"run": story, "generation": 1, "slices": [0, 1, 2, 3]}
    assert executing.output(json.loads(text), given) == given
    assert story_functions.calls(story) == 4


# --- told to the model alone ---


def test_a_wait_takes_its_time_and_a_map_keeps_to_its_concurrency(modelled: Machines) -> None:
    for most, seconds in ((1, 60), (2, 30), (0, 10)):
        processor = {"ProcessorConfig": {"Mode": "INLINE"}, **_one({"Type": "Wait", "SecondsPath": "$.wait"})}
        states = _one(
            {
                "Type": "Map",
                "ItemsPath": "$.items",
                "ItemSelector": {"wait": 10},
                "MaxConcurrency": most,
                "ItemProcessor": processor,
                "ResultPath": None,
            }
        )
        execution = modelled.start(modelled.make(states), {"items": [1, 2, 3, 4, 5, 6]})
        modelled.pass_time(seconds - 0.5)
        assert modelled.status(execution) == "RUNNING"
        modelled.pass_time(1.0)
        assert modelled.status(execution) == "SUCCEEDED"


def test_who_waits_for_an_answer_waits_no_longer_than_it_is_told(modelled: Machines) -> None:
    story = new_name("story")
    execution = modelled.start(modelled.make(_one(_waiting_task(story, TimeoutSeconds=60))))
    token = _token(modelled, story)
    modelled.pass_time(58.0)
    assert modelled.status(execution) == "RUNNING"
    modelled.pass_time(3.0)
    found = modelled.described(execution)
    assert (found["status"], found["error"]) == ("FAILED", "States.Timeout")
    late = refused(lambda: modelled.side.stepfunctions.send_task_success(taskToken=token, output="{}"))
    assert late == "TaskTimedOut"


def test_a_history_has_no_more_than_25_000_events(modelled: Machines) -> None:
    there, back = {"Type": "Pass", "Next": "Back"}, {"Type": "Wait", "Seconds": 0, "Next": "There"}
    states = {"StartAt": "There", "States": {"There": there, "Back": back}}
    found = modelled.end(modelled.start(modelled.make(states)))
    assert (found["status"], found["error"]) == ("FAILED", "States.Runtime")
    assert str(MOST_EVENTS) in found["cause"]


def test_a_history_is_as_long_as_the_declaration_reckons(modelled: Machines) -> None:
    batches = Batches(size=1, at_once=1, pause=timedelta(seconds=1), most_entries=10)
    machine = modelled.make(json.loads(json.dumps(definition(batches, ARN + "settles"))))
    execution = modelled.start(machine, {"run": new_name("story"), "generation": 1, "slices": [0, 1, 2]})
    modelled.end(execution)
    assert modelled.side.services is not None
    events = modelled.side.services.stepfunctions.executions[execution].events
    assert events <= batches.events(3, rounds=1) + 6  # of the execution and its Map


def test_no_retry_and_no_catch_helps_against_a_path_to_nothing(modelled: Machines) -> None:
    choice = {"Type": "Choice", "Choices": [{"Variable": "$.no", "BooleanEquals": True, "Next": "State"}]}
    states = {"StartAt": "Which", "States": {"Which": choice, "State": {"Type": "Succeed"}}}
    assert modelled.end(modelled.start(modelled.make(states)))["error"] == "States.Runtime"


def test_what_is_not_modelled_is_refused(modelled: Machines) -> None:
    for state in (
        {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage"},
        {"Type": "Pass", "InputPath": "$.a"},
    ):
        modelled.start(modelled.make(_one(state)))
        with pytest.raises(NotImplementedError):
            modelled.loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(modelled.loop)))
