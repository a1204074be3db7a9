"""Verifying a run, and having what can be repaired of it repaired."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rollcall.adapters.ledger import runs
from rollcall.core.catalog import Declared
from rollcall.core.clock import Clock, SystemClock
from rollcall.core.errors import RollcallError
from rollcall.core.job import Job
from rollcall.core.run import RunRecord, RunState
from rollcall.core.sizing import worker_sizing
from rollcall.core.values import counted
from rollcall.engine.fan_out.repair import due
from rollcall.engine.runs.verification import (
    Finding,
    Inconsistency,
    Missing,
    Wrong,
    count_again,
    verify,
    without_manifest,
)
from tools.cli.deployment import Deployment
from tools.cli.kept import as_deployment
from tools.cli.local_run import Options, Result, prepared, result_of
from tools.cli.looks import Look
from tools.cli.watching import Watch

#: Of a run of which nothing was settled for so long, it is said what it waits for.
QUIET_SECONDS = 10.0
#: Inconsistencies of the manifest itself: what they name cannot be sent again.
OF_MANIFEST = frozenset({Wrong.NO_CHUNK, Wrong.LINES})
NOBODY_CALLED = frozenset({RunState.REFUSED, RunState.SKIPPED, RunState.MISSED, RunState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found of a run."""

    run: RunRecord
    missing: tuple[Missing, ...] = ()
    inconsistencies: tuple[Inconsistency, ...] = ()
    #: Why there is no manifest to verify it by.
    without: str | None = None

    @classmethod
    def of(cls, run: RunRecord, findings: Iterable[Finding]) -> "Verification":
        missing: list[Missing] = []
        wrong: list[Inconsistency] = []
        for finding in findings:
            (missing if isinstance(finding, Missing) else wrong).append(finding)  # type: ignore[arg-type]
        return cls(run, tuple(missing), tuple(wrong))

    @property
    def settled(self) -> int:
        return self.run.total - len(self.missing)

    @property
    def known(self) -> Counter[str]:
        """How many entries are missing, by what is known of them."""
        return Counter(each.known.value for each in self.missing)

    @property
    def at_its_end(self) -> bool:
        """Whether there is nothing that a repair could do."""
        return self.exit_code == 0 and self.run.state.terminal and self.run.announced

    @property
    def exit_code(self) -> int:
        """0: all settled and consistent; 3: not so, or not known yet; 4: nobody was called, nor will be."""
        if self.without is not None:
            return 4 if self.run.state in NOBODY_CALLED else 3
        return 3 if self.missing or self.inconsistencies else 0

    def fields(self) -> dict[str, Any]:
        """The verification as JSON fields."""
        return {
            "run": self.run.id,
            "state": self.run.state.value,
            "generation": self.run.generation,
            "total": self.run.total,
            "settled": self.settled,
            "missing": [
                {"index": each.index, "key": each.key, "known": each.known.value, "attempts": each.attempts}
                for each in self.missing
            ],
            "inconsistencies": [
                {"wrong": each.wrong.value, "place": each.place, "said": each.said} for each in self.inconsistencies
            ],
            "reason": self.without,
        }


def verification(deployment: Deployment, run: str) -> Verification:
    """Raises RollcallError where there is no such run."""
    record = deployment.run(run)
    without = without_manifest(record)
    if without is not None:
        return Verification(record, without=without)
    return Verification.of(record, verify(deployment.ledger, deployment.manifests, record))


def repair_locally(
    declared: Declared, options: Options, run: str, look: Callable[[Look], None], tell: Callable[[str], None]
) -> Result:
    """Bring a run on a kept local cloud to its end; `tell` is given a line for each thing that is done or waited for.

    Raises RollcallError where that cannot be.
    """
    with prepared(declared, options) as ready:
        repairing = Repairing(as_deployment(ready.cloud), declared.job, SystemClock(), tell)
        record = repairing.begin(run)

        def looking(seen: Look) -> None:
            look(seen)
            repairing.go_on(seen)

        return result_of(ready, run, record.generation, looking)


def repair_deployed(
    deployment: Deployment,
    job: Job,
    run: str,
    look: Callable[[Look], None],
    tell: Callable[[str], None],
    clock: Clock,
) -> RunRecord:
    """Bring a run of a deployed environment to its end, beside its watchdog, which does the same. Raises as above."""
    repairing = Repairing(deployment, job, clock, tell)
    record = repairing.begin(run)

    def looking(seen: Look) -> None:
        look(seen)
        repairing.go_on(seen)

    return Watch(deployment, job, clock, looking, tell).until_end(run, record.generation)


def _cannot_repair(deployment: Deployment, found: Verification) -> str | None:
    run = found.run
    if run.state.terminal and run.announced:
        return f"it is {run.state}, and of a run that has ended nothing is sent again; start the job again"
    if run.state is RunState.QUEUED:
        current = deployment.ledger.job(run.job).current
        holder = deployment.ledger.run(current) if current is not None else None
        if holder is not None and not holder.state.terminal:
            first = f"rollcall verify {holder.id} --repair{deployment.option}"
            return f"it waits for the end of {holder.id}; first: {first}"
    broken = next((each for each in found.inconsistencies if each.wrong in OF_MANIFEST), None)
    if broken is not None and found.missing:
        return f"its manifest is not whole, {broken.place}: {broken.said}; start the job again"
    return None


@dataclass(slots=True)
class Repairing:
    """What is asked of fan-out while a run is brought to its end."""

    deployment: Deployment
    job: Job
    clock: Clock
    tell: Callable[[str], None]
    begun: datetime = field(init=False)
    settled: int = -1
    since: float = 0.0
    asked: bool = False
    told: bool = False
    #: The end of the lease after which the run was last taken over, or offered to be.
    offered: datetime | None = None

    def __post_init__(self) -> None:
        self.begun = self.clock.now()

    def begin(self, name: str) -> RunRecord:
        """Everything that need not wait. Raises RollcallError where the run cannot be repaired."""
        ledger, functions, now = self.deployment.ledger, self.deployment.functions, self.clock.now()
        found = verification(self.deployment, name)
        run = found.run
        objection = _cannot_repair(self.deployment, found)
        if objection is not None:
            raise RollcallError(f"{run.id} cannot be repaired: {objection}")
        if self.deployment.alone and run.lease_until is not None and run.owner is not None:
            # Nobody else uses the folder, so whoever had the lease ended with the cloud before this one.
            if run.leased(now):
                self.tell(f"the fan-out that worked on it is gone; its lease until {_time(run.lease_until)} is ended")
            runs.expire(ledger, run, now)
        climbed = count_again(ledger, run, now)
        if climbed:
            self.tell(f"{counted(climbed, 'full node')} counted again")
        if run.state in {RunState.QUEUED, RunState.ENUMERATING, RunState.DISPATCHING}:
            self._go_on(run, now)
            functions.resume(run.job, run.id)
        elif run.state.terminal or run.state is RunState.CANCELLING:
            functions.watch()
        return run

    def _go_on(self, run: RunRecord, now: datetime) -> None:
        if run.lease_until is not None and run.leased(now) and not self.deployment.alone:
            until = _time(run.lease_until)
            self.tell(f"it is {run.state}: a fan-out has it until {until}; if that one died, another takes it then")
        else:
            self.tell(f"it is {run.state}: its fan-out goes on")

    def go_on(self, look: Look) -> None:
        """Have sent again what is unsettled, once it may be; and say what is waited for, once that takes long."""
        now, run = self.clock.now(), look.record
        if look.settled != self.settled:
            self.settled, self.since = look.settled, look.seconds
        if run is None or run.state.terminal:
            return
        if self._is_abandoned(run, now) and run.lease_until != self.offered:
            self.offered = run.lease_until
            self.deployment.functions.resume(run.job, run.id)
        since = due(run)
        if since is None:
            return
        if not self.asked and now >= since:
            self.asked = True
            self.tell("what is unsettled is sent again")
            self.deployment.functions.repair(run.job, run.id)
        elif not self.told and look.seconds - self.since >= QUIET_SECONDS:
            self.told = True
            self.tell(self._waits(run, since))

    def _is_abandoned(self, run: RunRecord, now: datetime) -> bool:
        """Whether a fan-out died at work on it since this repair began."""
        return not self.deployment.alone and run.lease_until is not None and not run.leased(now)

    def _waits(self, run: RunRecord, since: datetime) -> str:
        parts = []
        if not self.asked:
            parts.append(f"what is unsettled was sent a short time ago, and may be sent again at {_time(since)}")
        if self.job.delivery is not None:
            until = _time(self.begun + worker_sizing(self.job).timeout)
            parts.append(f"its execution may be at work; a slice whose function died is free again by {until}")
            return "; ".join(parts)
        visibility = worker_sizing(self.job).visibility
        on_queue = self.deployment.queues.messages(run.job)
        if on_queue:
            back = _time(self.begun + visibility)
            parts.append(
                f"the queue has {counted(on_queue, 'message')}; those that killed workers had received "
                f"come back by {back}"
            )
        return "; ".join(parts or ["nothing is on the queue yet"])


def _time(moment: datetime) -> str:
    return f"{moment:%H:%M:%SZ}"
