"""Where a run stands, and waiting for its end, by the ledger alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rollcall.adapters.clients import AWS_ERRORS
from rollcall.core import names
from rollcall.core.clock import Clock
from rollcall.core.errors import RollcallError
from rollcall.core.job import Job
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord, RunState
from rollcall.core.sizing import LAMBDA_GIVES_UP_AFTER
from rollcall.engine.batch.pipeline_steps import Step, steps_of
from rollcall.engine.runs.progress import Held, Progress, outcomes, progress
from tools.cli.aws_errors import passes
from tools.cli.deployment import Deployment
from tools.cli.looks import Look

LOOK_EVERY = timedelta(seconds=2)
#: A cold start takes seconds; what has not begun by then is worth a word.
SLOW_START = timedelta(seconds=30)
#: The watchdog announces in its next round what the stream did not.
ANNOUNCED_WITHIN = timedelta(minutes=2)
#: So long, looks may fail by throttling and lost connections.
PATIENCE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands in its present generation."""

    environment: str
    record: RunRecord
    outcomes: Mapping[Outcome, int]
    held: tuple[Held, ...] = ()
    #: Of a pipeline: its steps, in order.
    steps: tuple[Step, ...] = ()

    @property
    def settled(self) -> int:
        return sum(self.outcomes.values())

    @property
    def clean(self) -> bool:
        return self.record.state is RunState.COMPLETE and self.outcomes[Outcome.SUCCEEDED] == self.record.total

    @property
    def seconds(self) -> float | None:
        """From its start to its end."""
        ended = self.record.completed_at
        return None if ended is None else round((ended - self.record.started_at).total_seconds(), 3)

    def fields(self) -> dict[str, Any]:
        """As JSON fields; those that a result of `rollcall run` has are named as there."""
        record = self.record
        return {
            "environment": self.environment,
            "run_id": record.id,
            "job": record.job,
            "generation": record.generation,
            "state": record.state.value,
            "reason": record.reason,
            "clean": self.clean,
            "total": record.total,
            "settled": self.settled,
            **{outcome.value: self.outcomes[outcome] for outcome in Outcome},
            "duplicates": record.duplicates,
            "held": [{"entries": each.entries, "reason": each.reason, "until": _iso(each.until)} for each in self.held],
            "scheduled_for": _iso(record.scheduled_for),
            "started_at": _iso(record.started_at),
            "completed_at": _iso(record.completed_at),
            "seconds": self.seconds,
            "announced": record.announced,
            **({"steps": [step.fields() for step in self.steps]} if self.steps else {}),
        }


def standing(deployment: Deployment, record: RunRecord, job: Job) -> Standing:
    """Read from the run's chunks, all of them."""
    sealed = record.nonce is not None and not record.state.terminal
    held = progress(deployment.ledger, record, job.target.name).held if sealed else ()
    steps = steps_of(deployment.ledger, deployment.manifests, job, record)
    return Standing(deployment.environment, record, outcomes(deployment.ledger, record), held, steps)


@dataclass(frozen=True, slots=True)
class Watch:
    """Looks at runs of one job, again and again."""

    deployment: Deployment
    job: Job
    clock: Clock
    #: Shown every look.
    look: Callable[[Look], None]
    #: Told, in a line, what a person should know and cannot see from looks.
    tell: Callable[[str], None]

    def until_end(self, run: str, generation: int) -> RunRecord:
        """The run once this generation of it has ended and is announced, or was not for two minutes.

        Raises RollcallError where nobody began it, or somebody opened another generation; and what AWS answers with,
        where that does not pass.
        """
        begun = seen = self.clock.now()
        ended: datetime | None = None
        told = False
        while True:
            now = self.clock.now()
            try:
                record = self._look(run, generation, now - begun)
                seen = now
            except AWS_ERRORS as error:
                if not passes(error) or now >= seen + PATIENCE:
                    raise
                self.clock.sleep(LOOK_EVERY)
                continue
            if record is not None and record.state.terminal:
                ended = ended or now
                if record.announced or now >= ended + ANNOUNCED_WITHIN:
                    return record
            if record is None and now >= begun + LAMBDA_GIVES_UP_AFTER:
                raise RollcallError(f"{run} was never begun, and Lambda has given it up; {self._where()} say why")
            if record is None and not told and now >= begun + SLOW_START:
                told = True
                self.tell(f"fan-out has not begun it yet; {self._where()} say why")
            self.clock.sleep(LOOK_EVERY)

    def _look(self, run: str, generation: int, since: timedelta) -> RunRecord | None:
        """The run, shown to who looks on; None until fan-out has begun this generation."""
        ledger = self.deployment.ledger
        record = ledger.run(run)
        if record is not None and record.generation > generation:
            again = f"rollcall status {run}{self.deployment.option}"
            raise RollcallError(f"{run} was redriven: its generation is {record.generation} now; see it with: {again}")
        if record is not None and record.generation < generation:
            record = None
        found = progress(ledger, record, self.job.target.name) if record is not None else Progress(0)
        self.look(Look(run, record, found.settled, since.total_seconds(), held=found.held))
        return record

    @property
    def log_group(self) -> str:
        """Where fan-out says what it does."""
        return f"/aws/lambda/{names.function_name(self.deployment.environment, 'fan_out', self.job.name)}"

    @property
    def undelivered(self) -> str:
        """The queue of starts that fan-out never handled."""
        return names.undelivered_queue_name(self.deployment.environment, self.job.name)

    def _where(self) -> str:
        return f"the log group {self.log_group} and the queue {self.undelivered}"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
