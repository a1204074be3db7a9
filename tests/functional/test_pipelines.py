"""A pipeline's run: its entries are its steps, and a step that is a run of another job waits for that one's end."""

import json
import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from rollcall import Jitter, Job, Pipeline, Rejected, Retry, Skip, SourceError, Target, Task, by_hand, daily
from rollcall.adapters.executions import Executions
from rollcall.adapters.ledger import pipeline_waiters
from rollcall.adapters.ledger.pipeline_waiters import TaskTokens, Waiting
from rollcall.core.actions import Action
from rollcall.core.errors import RollcallError
from rollcall.core.outcome import Outcome
from rollcall.core.pipeline import definition
from rollcall.core.run import Redrive, RunRecord, RunState, run_id
from rollcall.core.sizing import worker_sizing
from rollcall.engine.batch.batch_handler import SliceHandler, Waits
from rollcall.engine.batch.pipeline_steps import StepHandler, Wanted
from rollcall.engine.fan_out.fan_out import FanOut
from rollcall.engine.fan_out.repair import QUIET
from rollcall.engine.fan_out.run_lease import Again, Repair, Start
from rollcall.engine.runs.completion import Announcer
from rollcall.engine.worker.callback import Caller
from rollcall.engine.worker.worker import Worker
from tests.functional.wire import Killed
from tests.functional.world import DUE, RecordedFunctions, World, entries, put

NAME, IMPORT = "nightly", "import-things"
RUN, IMPORTING = run_id(NAME, DUE), run_id(IMPORT, DUE)
DAY = timedelta(days=1)
TIME = timedelta(minutes=10)


class UsedUp(Exception):
    """What Step Functions says of a token that was answered, or has timed out."""


class Waiters:
    """Step Functions' side of task tokens: each is answered once."""

    class exceptions:  # noqa: N801 - as boto3 has it
        TaskTimedOut = TaskDoesNotExist = InvalidToken = UsedUp

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self.times = 0

    def send_task_success(self, *, taskToken: str, output: str) -> None:  # noqa: N803
        self._answer(taskToken, json.loads(output))

    def send_task_failure(self, *, taskToken: str, error: str, cause: str) -> None:  # noqa: N803
        self._answer(taskToken, {"error": error, "cause": cause})

    def _answer(self, token: str, answer: dict[str, Any]) -> None:
        self.times += 1
        if token in self.answers:
            raise UsedUp(token)
        self.answers[token] = answer


class Asked(RecordedFunctions):
    """Notes which runs were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[tuple[str, str | None, Mapping[str, str]]] = []
        self.redriven: list[RunRecord] = []

    def start(self, job: str, scheduled_for: Any, nonce: str | None, params: Mapping[str, str]) -> str:
        self.started.append((job, nonce, params))
        return run_id(job, scheduled_for, nonce)

    def redrive(self, run: RunRecord, redrive: Redrive) -> None:
        assert redrive == Redrive()
        self.redriven.append(run)


class Piped:
    """A pipeline of three steps and the job of its second, in one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.functions = Asked()
        self.waiters = Waiters()
        #: What the first task does, and what it was called with.
        self.look: Callable[[Task], Skip | None] = lambda _: None
        self.looked: list[Task] = []
        self.ended: list[str] = []
        self.pipeline = Pipeline(NAME, schedule=daily("02:30"))
        self.pipeline.task("look", retry=Retry(retries=1, first=timedelta(seconds=7), jitter=Jitter.NONE))(self._look)
        self.pipeline.fan_out(IMPORT, at_least=0.5)
        self.pipeline.task("finish")(self._finish)
        machine = world.clients.stepfunctions.create_state_machine(
            name="steps",
            definition=json.dumps(definition(self.pipeline, "arn:aws:lambda:eu-west-1:123456789012:function:batch")),
            roleArn="arn:aws:iam::123456789012:role/steps",
        )
        self.machine = machine["stateMachineArn"]

    def _look(self, task: Task) -> Skip | None:
        self.looked.append(task)
        return self.look(task)

    def _finish(self, task: Task) -> None:
        self.ended.append(task.call.run_id)

    def declare_import(self) -> Job:
        """The job of the second step is the world's from now on."""
        target = Target("shop", concurrency=100)
        return self.world.declare(Job(IMPORT, schedule=by_hand(), target=target, retry=Retry(retries=0)), put)

    # --- fan-out ---

    def start(self, due: Any = DUE, **more: Any) -> str:
        self._fan_out().handle(Start(due, **more), self.world.invocation())
        return run_id(NAME, due, more.get("nonce"))

    def redrive(self, **choice: Any) -> None:
        self._fan_out().handle(Again(RUN, self.run().generation, Redrive(**choice)), self.world.invocation())

    def _fan_out(self) -> FanOut:
        self.world.job = self.pipeline
        found = self.world.fan_out()
        executions = Executions(self.world.clients.stepfunctions, self.machine)
        fields = {name: getattr(found, name) for name in FanOut.__slots__}
        return FanOut(**fields | {"queue": None, "executions": executions})

    def run(self, run: str = RUN) -> RunRecord:
        return self.world.run(run)

    # --- the state machine ---

    def handler(self) -> StepHandler:
        """An environment of the pipeline's batch function."""
        world = self.world
        known = (world.ledger, world.manifests, self._slices, self.functions, self._tokens, world.clock)
        return StepHandler(self.pipeline, *known, redact=world.secrets.in_use.redacted)

    @property
    def _tokens(self) -> TaskTokens:
        return TaskTokens(self.waiters)

    def _slices(self, job: Job) -> SliceHandler:
        world, waits = self.world, Waits()
        caller = Caller(job, world.target.send, world.secrets.text, world.table, world.clock)
        width = worker_sizing(job).width
        worker = Worker(job, world.ledger, waits, caller, world.clock, random.Random(1), width, world.token())  # noqa: S311
        assert job.delivery is not None
        return SliceHandler(job.delivery, world.ledger, world.manifests, worker, waits, world.clock)

    def handle(self, step: str, token: str | None = None, run: str = RUN) -> bool:
        """Whether the state machine is to come again, after the wait."""
        world, wanted = self.world, Wanted(run, self.run(run).generation, step, token)
        handled = world.runner.run(self.handler().handle(wanted, world.token(), world.clock.now() + TIME))
        if token is None:
            world.later(handled.wait)
        return handled.again

    def until_settled(self, *steps: str, run: str = RUN) -> None:
        for step in steps:
            for _ in range(10):
                if not self.handle(step, run=run):
                    break
            else:
                raise AssertionError(f"{step} is never settled")

    # --- the other job ---

    def import_things(self, number: int = 4, *, failing: int = 0, run: str = IMPORTING) -> None:
        """The run of the second step, from its start to its end; it is not announced."""
        world = self.world
        world.report = entries(number)
        for index in range(failing):
            world.target.script(f"D{index:02}", then=404)
        self.declare_import()
        nonce = run.removeprefix(IMPORTING).removeprefix("-") or None
        world.fan_out().handle(Start(DUE, nonce), world.invocation())
        world.drain()

    def begin_import(self) -> None:
        """The run of the second step, up to its first call."""
        self.world.report = entries(4)
        self.declare_import()
        self.world.fan_out().handle(Start(DUE, None), self.world.invocation())

    def announce(self, run: str = IMPORTING) -> None:
        world = self.world
        tokens = self._tokens
        Announcer(world.ledger, world.bus, self.functions, lambda _: None, world.clock, world.token(), tokens).announce(
            run
        )

    # --- what came of it ---

    def outcomes(self) -> dict[str | None, tuple[Outcome, str | None]]:
        """Of the steps that did not succeed."""
        return {key: (each.outcome, each.reason) for key, each in self.world.failures(RUN).items()}


@pytest.fixture
def piped(world: World) -> Piped:
    return Piped(world)


def test_steps_are_entries_of_one_run_that_is_complete_when_all_are_settled(piped: Piped) -> None:
    piped.start()
    assert piped.run().total == 3
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    piped.import_things()
    piped.announce()
    piped.until_settled(IMPORT, "finish")
    assert (piped.run().state, piped.ended) == (RunState.COMPLETE, [RUN])
    assert piped.world.outcomes(RUN) == {Outcome.SUCCEEDED: 3}


def test_a_step_that_is_handled_again_is_not_done_again(piped: Piped) -> None:
    piped.start()
    for _ in range(3):
        piped.until_settled("look")
    assert len(piped.looked) == 1


def test_a_step_that_is_settled_stays_as_it_ended_though_the_run_is_cancelled(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    piped.world.cancel(RUN)
    piped.until_settled("look")
    assert piped.world.events.count(Action.ENTRY_CANCELLED) == 0
    assert piped.outcomes() == {}


def test_a_last_step_whose_function_died_before_it_was_counted_is_counted_when_it_comes_again(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    piped.import_things()
    piped.announce()
    piped.until_settled(IMPORT)

    def before(sent: Any) -> None:
        if sent.operation == "UpdateItem" and sent.key == f"run#{RUN}" and RunState.COMPLETE in str(sent.fields):
            raise Killed(str(sent))

    piped.world.wire.before = before
    with pytest.raises(Killed):
        piped.handle("finish")
    piped.world.wire.reset()
    piped.until_settled("finish")
    assert (piped.run().state, piped.ended) == (RunState.COMPLETE, [RUN])


def test_a_task_whose_function_died_is_done_again_and_then_settled(piped: Piped) -> None:
    piped.start()

    def before(sent: Any) -> None:
        if sent.operation == "UpdateItem" and sent.key.startswith("node#"):
            raise Killed(str(sent))

    piped.world.wire.before = before
    with pytest.raises(Killed):
        piped.handle("look")
    piped.world.wire.reset()
    piped.world.later(TIME + timedelta(minutes=1))
    piped.until_settled("look")
    assert len(piped.looked) == 2
    assert piped.world.outcomes(RUN) == {Outcome.SUCCEEDED: 1}


# --- skip, and what is kept ---


def test_nothing_to_do_leaves_out_the_rest_and_the_run_is_skipped_with_the_reason(piped: Piped) -> None:
    piped.look = lambda _: Skip("the file has not changed")
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    piped.until_settled(IMPORT, "finish")
    run = piped.run()
    assert (run.state, run.reason) == (RunState.SKIPPED, "the file has not changed")
    reason = "skipped: the file has not changed"
    assert piped.outcomes() == {
        IMPORT: (Outcome.CANCELLED, reason),
        "finish": (Outcome.CANCELLED, reason),
    }
    assert piped.functions.started == []
    assert "token" in piped.waiters.answers, "the state machine waits for nothing"


def test_a_secret_in_the_reason_of_a_skip_is_replaced(piped: Piped) -> None:
    piped.world.secrets.in_use.add("t0k3n-t0k3n")
    piped.look = lambda _: Skip("nothing new at https://books/t0k3n-t0k3n")
    piped.start()
    piped.until_settled("look", IMPORT, "finish")
    assert piped.run().reason == "nothing new at https://books/[secret]"


def whole(piped: Piped) -> None:
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    piped.import_things()
    piped.announce()
    piped.until_settled(IMPORT, "finish")
    piped.announce(RUN)


def test_what_a_clean_run_kept_the_next_one_is_told(piped: Piped) -> None:
    def look(task: Task) -> None:
        task.keep("etag", "1")
        task.keep("size", "7")

    piped.look = look
    piped.start()
    whole(piped)
    second = piped.start(DUE + DAY)
    piped.until_settled("look", run=second)
    assert [task.kept for task in piped.looked] == [{}, {"etag": "1", "size": "7"}]


def test_what_a_failed_run_would_have_kept_is_forgotten(piped: Piped) -> None:
    piped.look = lambda task: task.keep("etag", "1")
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    piped.import_things(failing=4)
    piped.announce()
    piped.until_settled(IMPORT, "finish")
    piped.announce(RUN)
    assert piped.world.ledger.job(NAME).kept == {}


# --- failure ---


def test_a_task_is_retried_as_its_own_step_says_and_then_leaves_out_all_that_follow(piped: Piped) -> None:
    def look(_: Task) -> None:
        raise ValueError("the file cannot be read")

    piped.look = look
    piped.start()
    began = piped.world.clock.now()
    piped.until_settled("look", IMPORT, "finish")
    assert [task.call.attempt for task in piped.looked] == [1, 2]
    assert piped.world.clock.now() - began >= timedelta(seconds=7)
    assert piped.run().state is RunState.COMPLETE
    outcomes = piped.outcomes()
    assert outcomes.pop("look")[0] is Outcome.FAILED
    assert outcomes == dict.fromkeys((IMPORT, "finish"), (Outcome.CANCELLED, "look ended failed"))


def test_a_redrive_goes_on_with_the_step_that_failed(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    piped.import_things(failing=3)
    piped.announce()
    piped.until_settled(IMPORT, "finish")
    piped.announce(RUN)
    reason = f"{IMPORTING}: 1 of 4 succeeded, and 50% have to"
    assert piped.outcomes()[IMPORT] == (Outcome.FAILED, reason)
    piped.redrive()
    assert piped.run().total == 2
    piped.until_settled("look")
    piped.handle(IMPORT, "another token")
    assert [run.id for run in piped.functions.redriven] == [IMPORTING]
    assert piped.handle(IMPORT), "the failures of the run are to be redriven first"
    world = piped.world
    for index in range(2):
        world.target.script(f"D{index:02}")
    piped.declare_import()
    world.fan_out().handle(Again(IMPORTING, 1, Redrive()), world.invocation())
    world.drain()
    piped.announce()
    assert "another token" in piped.waiters.answers
    piped.until_settled(IMPORT, "finish")
    assert (piped.run().state, piped.ended, len(piped.looked)) == (RunState.COMPLETE, [RUN], 1)


def refused_and_redriven(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    world = piped.world
    piped.declare_import()
    world.report = [SourceError("the list breaks off")]
    world.fan_out().handle(Start(DUE, None), world.invocation())
    piped.announce()
    assert piped.waiters.answers["token"] == {"error": "Rollcall.Refused", "cause": "the list breaks off"}
    piped.until_settled(IMPORT, "finish")
    assert piped.outcomes()[IMPORT] == (Outcome.FAILED, f"{IMPORTING} is refused: the list breaks off")
    piped.announce(RUN)
    piped.redrive()
    piped.handle(IMPORT, "another token")
    assert [(job, nonce) for job, nonce, _ in piped.functions.started] == [(IMPORT, None), (IMPORT, "g2")]


def test_a_run_that_was_refused_is_a_failed_step_and_a_redrive_starts_another_one(piped: Piped) -> None:
    refused_and_redriven(piped)
    piped.import_things(run=f"{IMPORTING}-g2")
    piped.announce(f"{IMPORTING}-g2")
    piped.until_settled(IMPORT, "finish")
    assert piped.run().state is RunState.COMPLETE


# --- task tokens ---


def test_the_run_of_a_step_is_due_when_the_pipeline_is_and_has_its_nonce_and_parameters(piped: Piped) -> None:
    run = piped.start(nonce="h1", params={"only": "L1"})
    piped.until_settled("look", run=run)
    piped.handle(IMPORT, "token", run=run)
    assert piped.functions.started == [(IMPORT, "h1", {"only": "L1"})]
    assert piped.run(run).waits_for == f"{IMPORTING}-h1"


def test_the_end_of_the_run_answers_the_token_with_its_counts(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    piped.import_things(failing=1)
    piped.announce()
    assert piped.waiters.answers["token"]["outcomes"]["succeeded"] == 3
    assert piped.waiters.answers["token"]["total"] == 4


def test_a_token_that_is_answered_twice_or_late_harms_nobody(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    piped.import_things()
    piped.waiters.answers["token"] = {}
    piped.announce()
    assert piped.waiters.times == 1
    assert piped.world.run(IMPORTING).announced


def test_who_asks_after_the_end_is_answered_at_once(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    piped.import_things()
    piped.announce()
    piped.handle(IMPORT, "a token of later")
    assert piped.waiters.answers["a token of later"]["state"] == "complete"
    assert len(piped.functions.started) == 1


def test_a_token_that_is_noted_while_the_end_is_announced_is_answered(piped: Piped) -> None:
    """The announcer has looked for tokens already, and its announcement is not noted yet."""
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    piped.import_things()
    assert not piped.world.run(IMPORTING).announced
    piped.handle(IMPORT, "a token of just now")
    assert "a token of just now" in piped.waiters.answers


def test_a_step_that_is_handled_again_has_one_run_and_all_its_tokens_are_answered(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    for token in ("one", "two"):
        piped.handle(IMPORT, token)
    assert {(job, nonce) for job, nonce, _ in piped.functions.started} == {(IMPORT, None)}
    piped.import_things()
    piped.announce()
    assert piped.waiters.answers.keys() == {"one", "two"}


def test_of_two_first_tokens_at_the_same_moment_none_is_lost(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    waits, pipeline, wire = Waiting(frozenset(), f"{RUN}/1", 1), piped.run(), piped.world.wire

    def before(sent: Any) -> None:
        if sent.operation == "UpdateItem" and "tokens" in str(sent.fields) and "ADD" not in str(sent.fields):
            wire.reset()
            pipeline_waiters.note(piped.world.ledger, IMPORTING, waits, "another", pipeline)

    wire.before = before
    pipeline_waiters.note(piped.world.ledger, IMPORTING, waits, "one", pipeline)
    found = pipeline_waiters.of(piped.world.ledger, IMPORTING)
    assert found is not None
    assert found.tokens == {"one", "another"}


def test_an_announcer_that_dies_before_it_notes_leaves_the_answer_to_the_next(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    piped.import_things()

    def before(sent: Any) -> None:
        if sent.operation == "PutEvents":
            raise Killed(str(sent))

    piped.world.wire.before = before
    with pytest.raises(Killed):
        piped.announce()
    assert "token" not in piped.waiters.answers
    piped.world.wire.reset()
    piped.announce()
    assert "token" in piped.waiters.answers


def test_a_step_is_not_settled_before_its_run_has_ended_whatever_woke_the_state_machine(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    assert piped.handle(IMPORT)
    world = piped.world
    piped.begin_import()
    assert piped.handle(IMPORT)
    assert piped.handle(IMPORT, "another token")
    assert piped.waiters.answers == {}
    assert world.outcomes(RUN) == {Outcome.SUCCEEDED: 1}


def test_nobody_waits_for_a_run_of_a_job_that_no_pipeline_started(piped: Piped) -> None:
    piped.import_things()
    piped.announce()
    assert (piped.waiters.times, pipeline_waiters.of(piped.world.ledger, IMPORTING)) == (0, None)


# --- people ---


def test_who_cancels_a_pipeline_cancels_the_run_that_it_waits_for(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    world = piped.world
    piped.begin_import()
    world.cancel(RUN)
    assert world.run(IMPORTING).state is RunState.CANCELLING
    world.drain()
    piped.announce()
    piped.until_settled(IMPORT, "finish")
    assert piped.run().state is RunState.CANCELLED
    assert world.target.calls == []
    assert piped.outcomes()[IMPORT] == (Outcome.CANCELLED, "its run was cancelled")


def test_a_redrive_takes_up_a_run_that_is_still_being_cancelled_once_that_has_ended(piped: Piped) -> None:
    """Its workers settle what they have in hand: the pipeline's own run has ended by then."""
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    world = piped.world
    piped.begin_import()
    world.cancel(RUN)
    piped.until_settled(IMPORT, "finish")
    piped.announce(RUN)
    piped.redrive()
    piped.handle(IMPORT, "another token")
    assert piped.functions.redriven == []
    piped.declare_import()
    world.drain()
    assert world.run(IMPORTING).state is RunState.CANCELLED
    piped.announce()
    assert piped.handle(IMPORT), "the cancelled generation is not the step's"
    piped.handle(IMPORT, "a third token")
    assert [run.id for run in piped.functions.redriven] == [IMPORTING]
    world.fan_out().handle(Again(IMPORTING, 1, Redrive()), world.invocation())
    world.drain()
    piped.until_settled(IMPORT, "finish")
    assert piped.run().state is RunState.COMPLETE
    assert piped.outcomes() == {}


def without_the_step(piped: Piped) -> None:
    """A deploy forgets the step while its run goes on; the next one has it again, and the failed run is redriven."""
    steps = piped.pipeline.steps
    piped.pipeline.steps = tuple(step for step in steps if step.name != IMPORT)
    piped.until_settled(IMPORT, "finish")
    assert piped.outcomes()[IMPORT] == (Outcome.FAILED, "the pipeline has no such step any more")
    piped.pipeline.steps = steps
    piped.announce(RUN)
    piped.redrive()


def test_a_redrive_waits_for_the_run_that_is_still_under_way(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    world = piped.world
    piped.begin_import()
    without_the_step(piped)
    piped.handle(IMPORT, "another token")
    piped.declare_import()
    world.drain()
    piped.announce()
    assert piped.functions.redriven == []
    piped.until_settled(IMPORT, "finish")
    assert piped.run().state is RunState.COMPLETE


def test_a_redrive_waits_for_the_run_whose_list_is_being_read(piped: Piped) -> None:
    refused_and_redriven(piped)
    world, second = piped.world, f"{IMPORTING}-g2"

    def before(sent: Any) -> None:
        if sent.operation == "PutObject":
            raise Killed(str(sent))

    world.report = entries(4)
    piped.declare_import()
    world.wire.before = before
    with pytest.raises(Killed):
        world.fan_out().handle(Start(DUE, "g2"), world.invocation())
    world.wire.reset()
    assert world.run(second).state is RunState.ENUMERATING
    without_the_step(piped)
    piped.handle(IMPORT, "a third token")
    assert piped.run().waits_for == second
    assert len(piped.functions.started) == 2


def test_a_redrive_of_chosen_steps_takes_all_that_did_not_succeed(piped: Piped) -> None:
    """Else it would end clean, and keep what is for whole runs alone, without the steps that were left out."""
    piped.look = _rejecting
    piped.start()
    piped.until_settled("look", IMPORT, "finish")
    piped.announce(RUN)
    piped.redrive(outcomes=frozenset({Outcome.FAILED, Outcome.REJECTED}))
    assert piped.run().total == 3


def test_a_skipped_pipeline_is_not_redriven_for_its_steps_need_those_before(piped: Piped) -> None:
    piped.look = lambda _: Skip("the file has not changed")
    piped.start()
    piped.until_settled("look", IMPORT, "finish")
    piped.announce(RUN)
    with pytest.raises(RollcallError, match=r"it was skipped \(the file has not changed\).*start the job again"):
        piped.redrive()
    assert piped.run().generation == 1


def test_a_run_that_is_skipped_for_another_one_fails_its_step(piped: Piped) -> None:
    world = piped.world
    piped.declare_import()
    world.report = entries(2)
    world.fan_out().handle(Start(DUE - DAY, None), world.invocation())
    piped.start()
    piped.until_settled("look")
    piped.handle(IMPORT, "token")
    piped.declare_import()
    world.fan_out().handle(Start(DUE, None), world.invocation())
    piped.announce()
    reason = f"{run_id(IMPORT, DUE - DAY)} is not finished"
    assert piped.waiters.answers["token"] == {"error": "Rollcall.Skipped", "cause": reason}
    piped.until_settled(IMPORT, "finish")
    assert piped.outcomes()[IMPORT] == (Outcome.FAILED, f"{IMPORTING} is skipped: {reason}")
    assert piped.ended == []


def test_a_second_redrive_goes_on_with_the_run_that_the_first_one_started(piped: Piped) -> None:
    """That one has a manifest: what of it succeeded is not done again."""
    refused_and_redriven(piped)
    piped.import_things(failing=3, run=f"{IMPORTING}-g2")
    piped.announce(f"{IMPORTING}-g2")
    piped.until_settled(IMPORT, "finish")
    piped.announce(RUN)
    piped.redrive()
    piped.handle(IMPORT, "a third token")
    assert [run.id for run in piped.functions.redriven] == [f"{IMPORTING}-g2"]
    assert len(piped.functions.started) == 2


def test_an_execution_that_broke_off_is_followed_by_one_that_passes_what_is_settled(piped: Piped) -> None:
    piped.start()
    piped.until_settled("look")
    world = piped.world
    client = world.clients.stepfunctions
    (first,) = client.list_executions(stateMachineArn=piped.machine)["executions"]
    client.stop_execution(executionArn=first["executionArn"])
    world.later(QUIET + timedelta(seconds=1))
    piped._fan_out().handle(Repair(RUN), world.invocation())
    found = {each["name"] for each in client.list_executions(stateMachineArn=piped.machine)["executions"]}
    assert found == {f"{RUN}-g1", f"{RUN}-g1-1"}
    whole(piped)
    assert (piped.run().state, len(piped.looked), piped.ended) == (RunState.COMPLETE, 1, [RUN])


def test_a_token_of_an_earlier_generation_is_let_go(piped: Piped) -> None:
    """An execution that outlived a redrive has nothing to wait for."""
    piped.start()
    piped.until_settled("look")
    world = piped.world
    wanted = Wanted(RUN, 7, IMPORT, "of nobody")
    world.runner.run(piped.handler().handle(wanted, world.token(), world.clock.now() + TIME))
    assert piped.waiters.answers == {"of nobody": {}}
    assert piped.functions.started == []


def _rejecting(task: Task) -> Skip | None:
    raise Rejected(f"no: {task.call.run_id}")
