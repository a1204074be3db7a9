"""Step Functions: standard state machines, which execute the definition that they were made with, in virtual time."""

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from botocore.exceptions import ClientError

from rollcall.core.batches import MOST_EVENTS
from rollcall.core.values import Json
from tests.simulation.models.refusals import invalid, refusal
from tests.simulation.models.states_language import NO_CHOICE, RUNTIME, StateFailed, filled, holds, kept, selected
from tests.simulation.models.task_tokens import InvalidToken, TaskTimedOut, TaskTokens
from tools.local_cloud.isolation import REGION
from tools.local_cloud.resources import ACCOUNT

States: TypeAlias = Mapping[str, Any]
Context: TypeAlias = dict[str, Any]
#: Invokes the function of that ARN for an execution, with a payload. Raises StateFailed.
Invoke: TypeAlias = Callable[[str, "Execution", Json], Awaitable[Json]]
#: Has an execution go on beside everything else.
Launch: TypeAlias = Callable[[Coroutine[Any, Any, None]], object]

LAMBDA = "arn:aws:states:::lambda:invoke"
WAITING = f"{LAMBDA}.waitForTaskToken"
#: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
LONGEST_NAME, LONGEST_INPUT = 80, 262_144
_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]+")
#: The fields of states that are understood, whatever they mean.
_KNOWN = {
    "Task": {"Resource", "Parameters", "TimeoutSeconds", "ResultSelector", "ResultPath", "Retry", "Catch"},
    "Map": {"ItemsPath", "ItemSelector", "MaxConcurrency", "ItemProcessor", "ResultSelector", "ResultPath"},
    "Choice": {"Choices", "Default"},
    "Wait": {"Seconds", "SecondsPath"},
    "Pass": {"Result", "Parameters", "ResultPath"},
    "Succeed": set(),
    "Fail": {"Error", "Cause"},
}
_RETRY = {"ErrorEquals", "IntervalSeconds", "BackoffRate", "MaxAttempts", "MaxDelaySeconds", "JitterStrategy"}
_CATCH = {"ErrorEquals", "ResultPath", "Next"}


class ExecutionAlreadyExists(ClientError):
    """An execution of this name ended, or has another input."""


class ExecutionDoesNotExist(ClientError):
    """There is no such execution."""


class StateMachineDoesNotExist(ClientError):
    """There is no such state machine."""


class InvalidName(ClientError):
    """No execution can have this name."""


class InvalidExecutionInput(ClientError):
    """It is not JSON."""


class TaskDoesNotExist(ClientError):
    """There is no such activity."""


class StepFunctionsErrors:
    """What `client.exceptions` offers."""

    TaskDoesNotExist = TaskDoesNotExist
    TaskTimedOut = TaskTimedOut
    InvalidToken = InvalidToken

    ExecutionAlreadyExists = ExecutionAlreadyExists
    ExecutionDoesNotExist = ExecutionDoesNotExist
    StateMachineDoesNotExist = StateMachineDoesNotExist
    InvalidName = InvalidName
    InvalidExecutionInput = InvalidExecutionInput


@dataclass(eq=False)
class Execution:
    """One execution."""

    arn: str
    name: str
    machine: str
    input: str
    started: float
    #: As the state machine was defined when it started.
    definition: States = field(repr=False)
    status: str = "RUNNING"
    stopped: float | None = None
    output: Json = None
    error: str | None = None
    cause: str | None = None
    #: Of its history, so far.
    events: int = 0
    work: "asyncio.Task[Json] | None" = field(default=None, repr=False)

    @property
    def at_work(self) -> bool:
        return self.status == "RUNNING"


class StepFunctions:
    """The service."""

    exceptions = StepFunctionsErrors

    def __init__(self, now: Callable[[], float], seed: int = 0) -> None:
        self._now = now
        #: For the jitter of retries.
        self._random = random.Random(seed)  # noqa: S311
        self._machines: dict[str, States] = {}
        #: By ARN, in the order of their starts.
        self.executions: dict[str, Execution] = {}
        self.invoke: Invoke = _no_function
        self.launch: Launch = asyncio.ensure_future
        self._tokens = TaskTokens()

    # --- the operations ---

    def create_state_machine(self, *, name: str, definition: str, roleArn: str) -> dict[str, Any]:  # noqa: N803
        del roleArn
        arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"
        self._machines[arn] = json.loads(definition)
        return {"stateMachineArn": arn}

    def update_state_machine(self, *, stateMachineArn: str, definition: str) -> dict[str, Any]:  # noqa: N803
        self._machine(stateMachineArn, "UpdateStateMachine")
        self._machines[stateMachineArn] = json.loads(definition)
        return {}

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:  # noqa: A002, N803
        definition = self._machine(stateMachineArn, "StartExecution")
        if len(name) > LONGEST_NAME:
            raise invalid("StartExecution", f"a name has up to {LONGEST_NAME} characters: '{name}'")
        if not _NAME.fullmatch(name):
            raise refusal("InvalidName", "StartExecution", f"Invalid Name: '{name}'", kind=InvalidName)
        given = _parsed(input)
        arn = f"{stateMachineArn.replace(':stateMachine:', ':execution:')}:{name}"
        known = self.executions.get(arn)
        if known is None:
            execution = Execution(arn, name, stateMachineArn, input, self._now(), definition)
            self.executions[arn] = execution
            self.launch(self._execute(execution, given))
            return {"executionArn": arn, "startDate": _date(execution.started)}
        if known.at_work and json.loads(known.input) == given:
            return {"executionArn": arn, "startDate": _date(known.started)}
        raise refusal(
            "ExecutionAlreadyExists",
            "StartExecution",
            f"Execution Already Exists: '{arn}'",
            kind=ExecutionAlreadyExists,
        )

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        found = self._execution(executionArn, "DescribeExecution")
        answer = {
            "executionArn": found.arn,
            "stateMachineArn": found.machine,
            "name": found.name,
            "status": found.status,
            "startDate": _date(found.started),
            "input": found.input,
        }
        if found.stopped is not None:
            answer["stopDate"] = _date(found.stopped)
        if found.status == "SUCCEEDED":
            answer["output"] = json.dumps(found.output)
        if found.error is not None:
            answer |= {"error": found.error, "cause": found.cause}
        return answer

    def list_executions(self, *, stateMachineArn: str) -> dict[str, Any]:  # noqa: N803
        """The last one first, in one page."""
        found = [each for each in self.executions.values() if each.machine == stateMachineArn]
        listed = [{"executionArn": each.arn, "name": each.name, "status": each.status} for each in reversed(found)]
        return {"executions": listed}

    def stop_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        """What it has invoked goes on, and nobody waits for it any more."""
        found = self._execution(executionArn, "StopExecution")
        self._end(found, "ABORTED")
        if found.work is not None:
            found.work.cancel()
        return {"stopDate": _date(found.stopped or self._now())}

    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, Any]:  # noqa: N803
        self._tokens.succeed(taskToken, json.loads(output))
        return {}

    def send_task_failure(self, *, taskToken: str, error: str = "", cause: str = "") -> dict[str, Any]:  # noqa: N803
        self._tokens.fail(taskToken, error, cause)
        return {}

    def _machine(self, arn: str, operation: str) -> States:
        if arn not in self._machines:
            message = f"State Machine Does Not Exist: '{arn}'"
            raise refusal("StateMachineDoesNotExist", operation, message, kind=StateMachineDoesNotExist)
        return self._machines[arn]

    def _execution(self, arn: str, operation: str) -> Execution:
        if arn not in self.executions:
            message = f"Execution Does Not Exist: '{arn}'"
            raise refusal("ExecutionDoesNotExist", operation, message, kind=ExecutionDoesNotExist)
        return self.executions[arn]

    # --- an execution ---

    async def _execute(self, execution: Execution, given: Json) -> None:
        if not execution.at_work:  # aborted before it began
            return
        run = _Run(execution, self.invoke, self._tokens, self._random)
        execution.work = asyncio.get_running_loop().create_task(run.whole(given))
        await asyncio.wait({execution.work})
        if execution.work.cancelled():
            return
        try:
            execution.output = execution.work.result()
        except StateFailed as failure:
            execution.error, execution.cause = failure.error, failure.cause
            self._end(execution, "FAILED")
        else:
            self._end(execution, "SUCCEEDED")

    def _end(self, execution: Execution, status: str) -> None:
        if execution.at_work:
            execution.status, execution.stopped = status, self._now()


class _Run:
    """The states of one execution, one after another."""

    def __init__(self, execution: Execution, invoke: Invoke, tokens: TaskTokens, random_: random.Random) -> None:
        self._execution = execution
        self._invoke = invoke
        self._tokens = tokens
        self._random = random_

    async def whole(self, given: Json) -> Json:
        """The output of the execution. Raises StateFailed."""
        self._note(2)  # it starts and ends
        context = {"Execution": {"Id": self._execution.arn, "Name": self._execution.name, "Input": given}}
        return await self._through(self._execution.definition, given, context)

    def _note(self, events: int) -> None:
        """Note events in the history, whose end is the end of the execution."""
        self._execution.events += events
        if self._execution.events > MOST_EVENTS:
            raise StateFailed(RUNTIME, f"the execution reached the maximum number of history events ({MOST_EVENTS})")

    async def _through(self, machine: States, data: Json, context: Context) -> Json:
        name: str | None = machine["StartAt"]
        while name is not None:
            data, name = await self._state(machine["States"][name], data, context)
        return data

    async def _state(self, state: States, data: Json, context: Context) -> tuple[Json, str | None]:
        """The state's output, and the state that follows."""
        kind = state["Type"]
        if unknown := state.keys() - _KNOWN[kind] - {"Type", "Next", "End", "Comment"}:
            raise NotImplementedError(f"a {kind} with {sorted(unknown)}")
        self._note(2)  # it is entered and left
        match kind:
            case "Task":
                return await self._task(state, data, context)
            case "Map":
                result: Json = await self._map(state, data, context)
                data = kept(state.get("ResultPath", "$"), data, _selection(state, result, context))
            case "Choice":
                return data, self._chosen(state, data, context)
            case "Wait":
                seconds = state["Seconds"] if "Seconds" in state else selected(state["SecondsPath"], data, context)
                await asyncio.sleep(seconds)
            case "Pass":
                given = filled(state["Parameters"], data, context) if "Parameters" in state else data
                data = kept(state.get("ResultPath", "$"), data, state.get("Result", given))
            case "Fail":
                raise StateFailed(state.get("Error", ""), state.get("Cause", ""))
        return data, state.get("Next")

    @staticmethod
    def _chosen(state: States, data: Json, context: Context) -> str:
        for rule in state["Choices"]:
            if holds(rule, data, context):
                return str(rule["Next"])
        if "Default" not in state:
            raise StateFailed(NO_CHOICE)
        return str(state["Default"])

    async def _map(self, state: States, data: Json, context: Context) -> list[Json]:
        """The outputs of the iterations, which begin in order; the first that fails ends the others."""
        processor = state["ItemProcessor"]
        if processor.get("ProcessorConfig", {}).get("Mode", "INLINE") != "INLINE":
            raise NotImplementedError("a distributed Map")
        items = selected(state.get("ItemsPath", "$"), data, context)
        self._note(2)  # it starts and succeeds
        waiting = iter(list(enumerate(items)))
        results: list[Json] = [None] * len(items)

        async def iterate() -> None:
            for index, item in waiting:
                self._note(2)  # the iteration starts and succeeds
                within = {**context, "Map": {"Item": {"Index": index, "Value": item}}}
                given = filled(state["ItemSelector"], data, within) if "ItemSelector" in state else item
                results[index] = await self._through(processor, given, within)

        most = state.get("MaxConcurrency", 0) or len(items)
        async with _AllOrNone() as together:
            for _ in range(min(most, len(items))):
                together.start(iterate())
        return results

    async def _task(self, state: States, data: Json, context: Context) -> tuple[Json, str | None]:
        used: dict[int, int] = {}
        while True:
            self._note(3)  # it is scheduled and started, and succeeds or fails
            try:
                answer = await self._attempt(state, data, context)
                result = _selection(state, answer, context)
                return kept(state.get("ResultPath", "$"), data, result), state.get("Next")
            except StateFailed as failure:
                wait = self._before_next(state, failure, used)
                if wait is None:
                    return self._caught(state, failure, data)
                await asyncio.sleep(wait)

    async def _attempt(self, state: States, data: Json, context: Context) -> Json:
        """The result of a task's resource, in time."""
        resources = {LAMBDA: self._invoked, WAITING: self._answered}
        if state["Resource"] not in resources:
            raise NotImplementedError(f"a task of {state['Resource']}")
        try:
            async with asyncio.timeout(state.get("TimeoutSeconds")):
                return await resources[state["Resource"]](state["Parameters"], data, context)
        except TimeoutError as error:
            raise StateFailed("States.Timeout", f"after {state['TimeoutSeconds']} s") from error

    async def _invoked(self, parameters: Any, data: Json, context: Context) -> Json:
        given = filled(parameters, data, context)
        # Whoever stops the execution, or waits no longer, does not stop what it has invoked.
        work = asyncio.ensure_future(self._invoke(given["FunctionName"], self._execution, given["Payload"]))
        work.add_done_callback(_forget)
        return {"ExecutedVersion": "$LATEST", "Payload": await asyncio.shield(work), "StatusCode": 200}

    async def _answered(self, parameters: Any, data: Json, context: Context) -> Json:
        """What somebody answers to the token that the function gets, whatever that answers itself."""
        token, answer = self._tokens.new()
        answer.add_done_callback(_forget)
        work = asyncio.ensure_future(self._invoked(parameters, data, {**context, "Task": {"Token": token}}))
        try:
            await asyncio.wait({work, answer}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                work.result()
            return await answer
        finally:
            work.cancel()
            self._tokens.over(token)

    def _before_next(self, state: States, failure: StateFailed, used: dict[int, int]) -> float | None:
        """Seconds until the next attempt; None where there is none."""
        for number, retrier in enumerate(state.get("Retry", [])):
            if not _concerns(retrier, failure, _RETRY):
                continue
            tries = used.get(number, 0)
            if tries >= retrier.get("MaxAttempts", 3):
                return None
            used[number] = tries + 1
            wait = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** tries
            wait = min(wait, retrier.get("MaxDelaySeconds", wait))
            return float(self._random.uniform(0, wait) if retrier.get("JitterStrategy") == "FULL" else wait)
        return None

    @staticmethod
    def _caught(state: States, failure: StateFailed, data: Json) -> tuple[Json, str | None]:
        for catcher in state.get("Catch", []):
            if _concerns(catcher, failure, _CATCH):
                result: Json = {"Error": failure.error, "Cause": failure.cause}
                return kept(catcher.get("ResultPath", "$"), data, result), catcher["Next"]
        raise failure


class _AllOrNone:
    """Tasks that end together: by the first that fails, or with whoever waits for them."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def __aenter__(self) -> "_AllOrNone":
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()


def _selection(state: States, result: Json, context: Context) -> Json:
    return filled(state["ResultSelector"], result, context) if "ResultSelector" in state else result


def _concerns(rule: Mapping[str, Any], failure: StateFailed, known: set[str]) -> bool:
    if unknown := rule.keys() - known:
        raise NotImplementedError(f"a Retry or Catch with {sorted(unknown)}")
    names = rule["ErrorEquals"]
    if failure.error == RUNTIME:
        return RUNTIME in names
    return failure.error in names or "States.ALL" in names


def _parsed(text: str) -> Json:
    try:
        if len(text) > LONGEST_INPUT:
            raise ValueError("it is too long")
        found: Json = json.loads(text)
    except ValueError as error:
        message = f"Invalid State Machine Execution Input: '{error}'"
        raise refusal("InvalidExecutionInput", "StartExecution", message, kind=InvalidExecutionInput) from error
    return found


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _forget(work: "asyncio.Future[Json]") -> None:
    """What nobody waits for any more may fail."""
    if not work.cancelled():
        work.exception()


async def _no_function(function: str, execution: Execution, payload: Json) -> Json:
    del execution, payload
    raise StateFailed("Lambda.ResourceNotFoundException", f"there is no function {function}")
