"""A pipeline: steps in order, of which some are runs of other jobs. Its run is a run whose entries are its steps."""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias, TypeVar

from rollcall.core.batches import Batches
from rollcall.core.breaker import Breaker
from rollcall.core.call import Call
from rollcall.core.entry import Entry
from rollcall.core.errors import DeclarationError
from rollcall.core.job import Job, Overlap
from rollcall.core.retry import Retry
from rollcall.core.run import Run
from rollcall.core.schedule import Schedule
from rollcall.core.target import Keys, Need, Target, checked_name
from rollcall.core.values import Json

MOST_STEPS = 50
#: As that of any call (`Target.timeout`). What takes longer is a fan-out.
LONGEST_TASK = timedelta(minutes=5)
#: A task that was never answered may be called again for so long; tasks are made to be repeated.
REPEATED_WITHIN = timedelta(days=30)
#: Tasks of one pipeline after another are no target that is down.
NEVER = 1_000_000
#: A state machine that heard nothing for so long looks for itself.
LOOKS_AFTER = timedelta(hours=1)
#: Of Lambda itself; what a handler raises is the handler's
#: (https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception).
LAMBDA_ERRORS = (
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
)


@dataclass(frozen=True, slots=True)
class Skip:
    """Returned by a task: the steps that follow are left out, and the run ends `skipped`, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Task:
    """What the function of a task gets."""

    #: Its attempt, its HTTP client, tables, buckets and secrets.
    call: Call
    #: The parameters of a manual start.
    params: Mapping[str, str]
    #: What the last clean run of the pipeline kept.
    kept: Mapping[str, str]
    _keep: Callable[[str, str], None] = field(repr=False, compare=False)
    _skip: Callable[[str], None] = field(repr=False, compare=False)

    def keep(self, name: str, value: str) -> None:
        """Remember something for the pipeline's next runs, if this one ends clean: a failed one forgets it."""
        self._keep(name, value)

    def end(self, result: object) -> None:
        """What a task does with what its function returned."""
        if isinstance(result, Skip):
            self._skip(result.reason)


TaskFunction: TypeAlias = Callable[[Task], Awaitable[Skip | None] | Skip | None]
TaskFunctionT = TypeVar("TaskFunctionT", bound=TaskFunction)


@dataclass(frozen=True, slots=True)
class TaskStep:
    """A step that is one call of a function."""

    name: str
    function: TaskFunction
    retry: Retry


@dataclass(frozen=True, slots=True)
class FanOutStep:
    """A step that is a run of a job, by queue or in batches."""

    #: The job's name, and the step's.
    name: str
    #: The share of the run's entries that has to succeed for the next step.
    at_least: float


Step: TypeAlias = TaskStep | FanOutStep


class Pipeline(Job):
    """Steps in order; `task` and `fan_out` add them. Raises DeclarationError for what cannot work.

    A step that fails leaves out all that follow. A redrive goes on with it.
    """

    def __init__(
        self,
        name: str,
        *,
        schedule: Schedule,
        needs: Sequence[Need] = (),
        overlap: Overlap = Overlap.SKIP,
        deadline: timedelta = timedelta(hours=8),
        #: Of one attempt at a task.
        timeout: timedelta = LONGEST_TASK,
        own_alarms: bool = False,
    ) -> None:
        if timeout > LONGEST_TASK:
            raise DeclarationError(f"pipeline {name}: timeout is {timeout}; a task takes {LONGEST_TASK} at most")
        super().__init__(
            name,
            schedule=schedule,
            # Its own functions: one of them at a time, and repeatable.
            target=Target(
                name, concurrency=1, timeout=timeout, breaker=Breaker(failures=NEVER), keys=Keys(REPEATED_WITHIN)
            ),
            concurrency=1,
            needs=needs,
            overlap=overlap,
            deadline=deadline,
            own_alarms=own_alarms,
            delivery=Batches(size=1, at_once=1, pause=timedelta(0), most_entries=MOST_STEPS),
        )
        self.steps: tuple[Step, ...] = ()
        self.source(self._entries)
        self.callback(_of_no_step)

    def task(self, name: str, *, retry: Retry = Retry()) -> Callable[[TaskFunctionT], TaskFunctionT]:  # noqa: B008
        """Decorator: the next step is this function, plain or async, called with a `Task`.

        It may be called again after it was called: a step that dies is repeated.
        """

        def add(function: TaskFunctionT) -> TaskFunctionT:
            if len(inspect.signature(function).parameters) != 1:
                raise DeclarationError(f"pipeline {self.name}: the task {name} takes one parameter, a Task")
            self._add(TaskStep(name, function, retry))
            return function

        return add

    def fan_out(self, job: str, *, at_least: float = 1.0) -> None:
        """The next step is a run of the job of this name, due when the pipeline is, with its parameters."""
        if not 0 <= at_least <= 1:
            raise DeclarationError(f"pipeline {self.name}: at_least of {job} is {at_least}; a share is 0 to 1")
        self._add(FanOutStep(job, at_least))

    def _add(self, step: Step) -> None:
        checked_name("step", step.name, 40)
        if step.name in {each.name for each in self.steps}:
            raise DeclarationError(f"pipeline {self.name} has two steps named {step.name}; rename one")
        self.steps = (*self.steps, step)

    def _entries(self, run: Run) -> Iterator[Entry]:
        del run
        for step in self.steps:
            yield Entry(step.name, {"step": step.name})

    @property
    def fan_outs(self) -> tuple[str, ...]:
        """The names of the jobs whose runs are steps."""
        return tuple(step.name for step in self.steps if isinstance(step, FanOutStep))

    def job_of(self, step: TaskStep, task: Callable[[Call], Task]) -> Job:
        """The job of which one step is the callback; `task` makes what its function gets."""
        function = step.function
        bound = copy(self)
        bound.retry = step.retry
        if inspect.iscoroutinefunction(function):

            async def call_async(payload: dict[str, str], call: Call) -> None:
                del payload
                given = task(call)
                given.end(await function(given))

            bound._callback = call_async
        else:

            def call_plain(payload: dict[str, str], call: Call) -> None:
                del payload
                given = task(call)
                given.end(function(given))

            bound._callback = call_plain
        return bound

    def check_complete(self) -> None:
        """Raise DeclarationError where there are no steps."""
        if not 1 <= len(self.steps) <= MOST_STEPS:
            raise DeclarationError(f"pipeline {self.name} has {len(self.steps)} steps; it takes 1 to {MOST_STEPS}")
        super().check_complete()


def _of_no_step(payload: dict[str, str], call: Call) -> None:
    raise DeclarationError(f"{call.run_id}: {payload.get('step')} is no task")


def definition(pipeline: Pipeline, function: str) -> dict[str, Json]:
    """The state machine of a pipeline in Amazon States Language; `function` is the ARN of its batch function.

    Its input: `{"run": …, "generation": …}`. Each step is handled until it is settled. Whether one is left out, for a
    step before it failed or there is nothing to do, is for its handler to say: so every execution goes from the first
    step to the last, and passes those that are settled.
    """
    states: dict[str, Json] = {}
    for step, after in zip(pipeline.steps, [*pipeline.steps[1:], None], strict=True):
        next_ = _first_state(after) if after is not None else "Done"
        states |= _states_of(step, function, next_)
    states["Left to the watchdog"] = {
        "Type": "Fail",
        "Error": "Rollcall.StepNotHandled",
        "Cause": "The function failed again and again. The watchdog has another execution started.",
    }
    states["Done"] = {"Type": "Succeed"}
    return {
        "Comment": f"{pipeline.name}: {len(pipeline.steps)} steps",
        "StartAt": _first_state(pipeline.steps[0]),
        "States": states,
    }


def _first_state(step: Step) -> str:
    return f"Start {step.name}" if isinstance(step, FanOutStep) else step.name


def _states_of(step: Step, function: str, next_: str) -> dict[str, Json]:
    payload: dict[str, Json] = {"run.$": "$.run", "generation.$": "$.generation", "step": step.name}
    wait, settled = f"Wait for {step.name}", f"Is {step.name} settled?"
    found: dict[str, Json] = {}
    if isinstance(step, FanOutStep):
        found[_first_state(step)] = {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {"FunctionName": function, "Payload": {**payload, "token.$": "$$.Task.Token"}},
            "TimeoutSeconds": int(LOOKS_AFTER.total_seconds()),
            "ResultPath": "$.ended",
            "Retry": [_retry(*LAMBDA_ERRORS)],
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.ended", "Next": step.name}],
            "Next": step.name,
        }
    found[step.name] = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload": payload},
        "ResultSelector": {"again.$": "$.Payload.again", "wait_seconds.$": "$.Payload.wait_seconds"},
        "ResultPath": "$.answer",
        "Retry": [_retry("States.ALL")],
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "Left to the watchdog"}],
        "Next": settled,
    }
    found[settled] = {
        "Type": "Choice",
        "Choices": [{"Variable": "$.answer.again", "BooleanEquals": True, "Next": wait}],
        "Default": next_,
    }
    found[wait] = {"Type": "Wait", "SecondsPath": "$.answer.wait_seconds", "Next": _first_state(step)}
    return found


def _retry(*errors: str) -> Json:
    return {
        "ErrorEquals": list(errors),
        "IntervalSeconds": 2,
        "BackoffRate": 2,
        "MaxAttempts": 3,
        "MaxDelaySeconds": 30,
        "JitterStrategy": "FULL",
    }
