"""The steps of a pipeline: tasks, called like entries of a batch, and runs of other jobs."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger import chunk_updates, entries, pipeline_waiters, runs
from rollcall.adapters.ledger.entries import EntryName, Told
from rollcall.adapters.ledger.pipeline_waiters import TaskTokens, Waiting
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.manifests import Manifests
from rollcall.core.actions import Action, entry_fields, log
from rollcall.core.answers import Answer
from rollcall.core.call import Call
from rollcall.core.clock import Clock
from rollcall.core.entry import ManifestEntry
from rollcall.core.event_forms import STEP_FORMS, form_of
from rollcall.core.job import Job
from rollcall.core.outcome import Outcome
from rollcall.core.pipeline import FanOutStep, Pipeline, Task, TaskStep
from rollcall.core.redaction import Redact, unredacted
from rollcall.core.run import Redrive, RunRecord, RunState, run_id
from rollcall.core.tree import Node
from rollcall.engine.batch.batch_handler import Handled, Slice, SliceHandler, under_way
from rollcall.engine.runs.completion import completed
from rollcall.engine.runs.progress import outcomes

#: Wait before the state machine checks the run of a step again.
LOOK_AGAIN = timedelta(seconds=30)
_PASSED = Handled(again=False, wait=timedelta(0))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The address of a step, as the state machine names it."""

    run: str
    generation: int
    step: str
    #: The task token to answer when the step's run ends; None to settle the step.
    token: str | None = None

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Self:
        """Parse an event; raise RollcallError, KeyError or ValueError if it names no step."""
        form_of(event, STEP_FORMS)
        return cls(str(event["run"]), int(event["generation"]), str(event["step"]), event.get("token"))


@dataclass(frozen=True, slots=True)
class Step:
    """The state of a step of a pipeline's run."""

    name: str
    #: None if the step is not settled.
    outcome: Outcome | None
    #: The run that the step consists of, if it has started, and its entries by outcome.
    run: RunRecord | None = None
    outcomes: Mapping[Outcome, int] | None = None

    def fields(self) -> dict[str, object]:
        """Return the JSON fields of the step."""
        counts = self.outcomes or {}
        return {
            "step": self.name,
            "outcome": None if self.outcome is None else self.outcome.value,
            "run": None if self.run is None else self.run.id,
            "state": None if self.run is None else self.run.state.value,
            "total": None if self.run is None else self.run.total,
            **{outcome.value: count for outcome, count in counts.items() if count},
        }


def steps_of(ledger: Ledger, manifests: Manifests, job: Job, run: RunRecord) -> tuple[Step, ...]:
    """Return the steps of a pipeline's run in order, each by the latest generation it was in.

    Returns none if the job is no pipeline or the run is not sealed.
    """
    if not isinstance(job, Pipeline):
        return ()
    found: dict[str, Outcome | None] = {}
    for generation in reversed(run.generations):
        for chunk in (Node(0, number) for number in range(generation.tree.chunks)):
            record = ledger.nodes(generation, [chunk])[chunk]
            lines = enumerate(manifests.read(generation, chunk.number))
            found |= {str(line.key): record.outcome(position) for position, line in lines}
    return tuple(_standing(ledger, run, name, outcome, name in job.fan_outs) for name, outcome in found.items())


def _standing(ledger: Ledger, run: RunRecord, name: str, outcome: Outcome | None, is_run: bool) -> Step:
    child = _child_of(ledger, run, name)[1] if is_run else None
    return Step(name, outcome, child, outcomes(ledger, child) if child is not None else None)


@dataclass(frozen=True, slots=True)
class _Place:
    """A step in the manifest of its run."""

    run: RunRecord
    index: int
    line: ManifestEntry
    #: The earlier steps of this generation, each with its outcome.
    before: tuple[tuple[str, Outcome | None], ...]
    settled: bool

    @property
    def chunk(self) -> Node:
        return self.run.tree.chunk_of(self.index)[0]


@dataclass(frozen=True, slots=True)
class StepHandler:
    """A handler of the steps of one pipeline's runs; repeated calls settle a step once."""

    pipeline: Pipeline
    ledger: Ledger
    manifests: Manifests
    #: Returns a handler that calls the one entry of a batch with the given job's callback.
    slices_of: Callable[[Job], SliceHandler]
    functions: Functions
    tokens: TaskTokens
    clock: Clock
    #: Removes the secrets in use from the reason of a skip.
    redact: Redact = unredacted

    async def handle(self, wanted: Wanted, owner: str, deadline: datetime) -> Handled:
        """Advance a step; `owner` is unique to the invocation, which is killed at `deadline`.

        With a token, the run of the step is started, and the token is registered to be answered when the run ends.
        """
        handled = await self._bring_on(wanted, owner, deadline)
        if wanted.token is not None and not handled.again:
            self.tokens.let_go(wanted.token)
        return handled

    async def _bring_on(self, wanted: Wanted, owner: str, deadline: datetime) -> Handled:
        run = self.ledger.run(wanted.run)
        if run is None or run.generation != wanted.generation or not under_way(run):
            return _PASSED
        place = self._place(run, wanted.step)
        if place is None or place.settled:
            return _PASSED
        step = next((each for each in self.pipeline.steps if each.name == wanted.step), None)
        if step is None:
            return self._settle(place, Outcome.FAILED, "no_step", "the pipeline has no such step any more")
        reason = _left_out(place)
        if reason is not None:
            return self._settle(place, Outcome.CANCELLED, "left_out", reason)
        if isinstance(step, TaskStep):
            slices_ = self.slices_of(self.pipeline.job_of(step, partial(self._task, run, step.name)))
            return await slices_.handle(Slice(run.id, run.generation, place.index), owner, deadline)
        return self._start(place, step, wanted.token) if wanted.token is not None else self._judge(place, step)

    # --- tasks ---

    def _task(self, run: RunRecord, step: str, call: Call) -> Task:
        keeps = dict(run.keeps)

        def keep(name: str, value: str) -> None:
            keeps[name] = value
            runs.keep(self.ledger, run, keeps)

        def skip(reason: str) -> None:
            reason = self.redact(reason)
            runs.skip_rest(self.ledger, run, step, " ".join(reason.split()))

        return Task(call, run.params, self.ledger.job(run.job).kept, keep, skip)

    # --- runs of other jobs ---

    def _start(self, place: _Place, step: FanOutStep, token: str) -> Handled:
        """Start or redrive the step's run, and register `token` to be notified when it ends.

        If the run has ended already, the token is answered at once.
        """
        run, by = place.run, _by(place.run)
        child, known = self._child(run, step)
        record = self.ledger.run(child)
        if known is None or known.by != by:
            known = Waiting(frozenset(), by, _generation_after(record))
        # Register first: a later announcement finds the token, and an earlier end is seen by the read below.
        pipeline_waiters.note(self.ledger, child, known, token, run)
        runs.wait_for(self.ledger, run, child)
        record = self.ledger.run(child)
        if record is None:
            _, _, nonce = child.partition(f"{step.name}-{_stamp(run)}")
            self.functions.start(step.name, run.scheduled_for, nonce.removeprefix("-") or None, run.params)
        elif record.state.terminal and record.generation < known.generation:
            self.functions.redrive(record, Redrive())
        elif record.state.terminal:
            self.tokens.answer(token, completed(self.ledger, record, self.clock.now()))
        log(Action.STEP_WAITS, run=run.id, job=run.job, step=step.name, waits_for=child, generation=known.generation)
        return Handled(again=True, wait=LOOK_AGAIN)

    def _judge(self, place: _Place, step: FanOutStep) -> Handled:
        """Settle the step by the end of its run, as the ledger records it."""
        child, known = self._child(place.run, step)
        record = self.ledger.run(child)
        ours = known is not None and known.by == _by(place.run)
        if record is None or known is None or not ours or not record.state.terminal:
            return Handled(again=True, wait=LOOK_AGAIN)
        if record.generation < known.generation:
            return Handled(again=True, wait=LOOK_AGAIN)
        ended = completed(self.ledger, record, self.clock.now())
        if record.state is not RunState.COMPLETE:
            reason = f"{child} is {record.state}" + (f": {record.reason}" if record.reason else "")
            return self._settle(place, Outcome.FAILED, f"run_{record.state}", reason)
        total = record.generations[-1].total
        failed = ended.total - ended.outcomes[Outcome.SUCCEEDED]
        if total and 1 - failed / total < step.at_least:
            reason = f"{child}: {total - failed:,} of {total:,} succeeded, and {step.at_least:.0%} have to"
            return self._settle(place, Outcome.FAILED, "too_few", reason)
        return self._settle(place, Outcome.SUCCEEDED)

    def _child(self, run: RunRecord, step: FanOutStep) -> tuple[str, Waiting | None]:
        """Return the id of the step's run, and its latest waiter.

        In a redrive, this is the latest earlier run, whose failures are redriven. A run that ended without a manifest
        is followed by a new one.
        """
        child, _ = _child_of(self.ledger, run, step.name)
        return child, pipeline_waiters.of(self.ledger, child)

    # --- all steps ---

    def _place(self, run: RunRecord, name: str) -> _Place | None:
        """Find a step in the run's generation; return None if it is not part of it."""
        lines: dict[int, ManifestEntry] = {}
        settled: dict[int, Outcome | None] = {}
        for chunk in (Node(0, number) for number in range(run.tree.chunks)):
            record = self.ledger.nodes(run, [chunk])[chunk]
            # Propagate again: the invocation that filled the chunk may have died before that.
            chunk_updates.count(self.ledger, run, chunk, record, self.clock.now())
            for position, line in enumerate(self.manifests.read(run, chunk.number)):
                index = chunk.number * run.chunk_size + position
                lines[index], settled[index] = line, record.outcome(position)
        found = next((index for index, line in lines.items() if line.key == name), None)
        if found is None:
            return None
        before = tuple((str(lines[index].key), settled[index]) for index in range(found))
        return _Place(run, found, lines[found], before, settled[found] is not None)

    def _settle(self, place: _Place, outcome: Outcome, error: str | None = None, reason: str | None = None) -> Handled:
        run, now = place.run, self.clock.now()
        about = {**entry_fields(run.id, run.generation, place.index), "job": run.job, "step": place.line.key}
        if outcome is not Outcome.SUCCEEDED:
            told = Told(Answer(outcome, error, reason), attempts=0, definite=True)
            entries.note_outcome(self.ledger, run, EntryName(place.line.key, place.index), outcome, told, now)
            action = Action.ENTRY_FAILED if outcome is Outcome.FAILED else Action.ENTRY_CANCELLED
            log(action, logging.WARNING, **about, error=error, reason=reason)
        position = run.tree.chunk_of(place.index)[1]
        chunk_updates.settle(self.ledger, run, place.chunk, chunk_updates.Batch({position: outcome}), now)
        return _PASSED


def _left_out(place: _Place) -> str | None:
    """Return why a step must not be done, or None."""
    if place.run.skip_reason is not None and place.line.key != place.run.skipped_by:
        return f"skipped: {place.run.skip_reason}"
    if place.run.state is RunState.CANCELLING:
        return "its run was cancelled"
    for name, outcome in place.before:
        if outcome is not None and outcome is not Outcome.SUCCEEDED:
            return f"{name} ended {outcome}"
    return None


def _child_of(ledger: Ledger, run: RunRecord, job: str) -> tuple[str, RunRecord | None]:
    """Return the id of the run of `job` that a step of `run` consists of, and its record."""
    _, _, nonce = run.id.partition(f"{run.job}-{_stamp(run)}")
    nonce = nonce.removeprefix("-")
    started = [
        run_id(job, run.scheduled_for, (nonce if number == 1 else f"{nonce}g{number}") or None)
        for number in range(run.generation, 0, -1)
    ]
    records = ledger.runs(started)
    going = (name for name in started if name in records and not _came_to_nothing(records[name]))
    child = next(going, started[0])
    return child, records.get(child)


def _came_to_nothing(record: RunRecord) -> bool:
    """Return whether the run ended without a manifest, so that it cannot be redriven."""
    return record.state.terminal and not record.generations


def _generation_after(record: RunRecord | None) -> int:
    """Return the generation to wait for: the next if the current one has ended or is ending."""
    if record is None:
        return 1
    over = record.state.terminal or record.state is RunState.CANCELLING
    return record.generation + 1 if over and record.generations else record.generation


def _by(run: RunRecord) -> str:
    return f"{run.id}/{run.generation}"


def _stamp(run: RunRecord) -> str:
    return f"{run.scheduled_for:%Y%m%dT%H%M%SZ}"
