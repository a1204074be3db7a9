"""Verifying a run of a kept local cloud, and having what can be repaired of it repaired."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rollcall.adapters import runs
from rollcall.adapters.queue import Queues
from rollcall.core.catalog import Declared
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunRecord, RunState
from rollcall.core.sizing import worker_sizing
from rollcall.core.values import counted
from rollcall.engine.repairing import due
from rollcall.engine.verifying import Finding, Inconsistency, Missing, Wrong, count_again, verify, without_manifest
from tools.cli.local_run import Options, Prepared, Result, prepared, result_of
from tools.cli.looks import Look
from tools.local_cloud import resources
from tools.local_cloud.cloud import LocalCloud

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


def verify_kept(folder: Path, run: str) -> Verification:
    """Raises RollcallError where there is no such run."""
    with LocalCloud(folder=folder) as cloud, cloud.telling():
        return _verified(cloud, run)


def _verified(cloud: LocalCloud, run: str) -> Verification:
    record = cloud.ledger.run(run)
    if record is None:
        raise RollcallError(f"there is no run {run} in {cloud.folder}")
    without = without_manifest(record)
    if without is not None:
        return Verification(record, without=without)
    return Verification.of(record, verify(cloud.ledger, cloud.manifests, record))


def repair_locally(
    declared: Declared, options: Options, run: str, look: Callable[[Look], None], tell: Callable[[str], None]
) -> Result:
    """Bring a run on a kept local cloud to its end; `tell` is given a line for each thing that is done or waited for.

    Raises RollcallError where that cannot be.
    """
    with prepared(declared, options) as ready:
        found = _verified(ready.cloud, run)
        objection = _cannot_repair(ready.cloud, found)
        if objection is not None:
            raise RollcallError(f"{run} cannot be repaired: {objection}")
        repairing = Repairing(ready, tell)
        repairing.begin(found.run)

        def looking(seen: Look) -> None:
            look(seen)
            repairing.go_on(seen)

        return result_of(ready, run, found.run.generation, looking)


def _cannot_repair(cloud: LocalCloud, found: Verification) -> str | None:
    run = found.run
    if run.state.terminal and run.announced:
        return f"it is {run.state}, and of a run that has ended nothing is sent again; start the job again"
    if run.state is RunState.QUEUED:
        current = cloud.ledger.job(run.job).current
        holder = cloud.ledger.run(current) if current is not None else None
        if holder is not None and not holder.state.terminal:
            return f"it waits for the end of {holder.id}; first: rollcall verify {holder.id} --repair"
    broken = next((each for each in found.inconsistencies if each.wrong in OF_MANIFEST), None)
    if broken is not None and found.missing:
        return f"its manifest is not whole, {broken.place}: {broken.said}; start the job again"
    return None


@dataclass(slots=True)
class Repairing:
    """What is asked of fan-out while a run is brought to its end."""

    ready: Prepared
    tell: Callable[[str], None]
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    settled: int = -1
    since: float = 0.0
    asked: bool = False
    told: bool = False

    def begin(self, run: RunRecord) -> None:
        """Everything that need not wait."""
        cloud, now = self.ready.cloud, datetime.now(UTC)
        if run.lease_until is not None and run.owner is not None:
            # Nobody else uses the folder, so whoever had the lease ended with the cloud before this one.
            if run.leased(now):
                self.tell(f"the fan-out that worked on it is gone; its lease until {_time(run.lease_until)} is ended")
            runs.expire(cloud.ledger, run, now)
        climbed = count_again(cloud.ledger, run, now)
        if climbed:
            self.tell(f"{counted(climbed, 'full node')} counted again")
        if run.state in {RunState.QUEUED, RunState.ENUMERATING, RunState.DISPATCHING}:
            self.tell(f"it is {run.state}: its fan-out goes on")
            cloud.resume(run.job, run.id)
        elif run.state.terminal or run.state is RunState.CANCELLING:
            cloud.tick()

    def go_on(self, look: Look) -> None:
        """Have sent again what is unsettled, once it may be; and say what is waited for, once that takes long."""
        now, run = datetime.now(UTC), look.record
        if look.settled != self.settled:
            self.settled, self.since = look.settled, look.seconds
        since = due(run) if run is not None else None
        if run is None or since is None or run.state.terminal:
            return
        if not self.asked and now >= since:
            self.asked = True
            self.tell("what is unsettled is sent again")
            self.ready.cloud.repair(run.job, run.id)
        elif not self.told and look.seconds - self.since >= QUIET_SECONDS:
            self.told = True
            self.tell(self._waits(run, since))

    def _waits(self, run: RunRecord, since: datetime) -> str:
        cloud, visibility = self.ready.cloud, worker_sizing(self.ready.declared.job).visibility
        on_queue = Queues(cloud.client("sqs"), resources.ENVIRONMENT).messages(run.job)
        parts = []
        if not self.asked:
            parts.append(f"what is unsettled was sent a short time ago, and may be sent again at {_time(since)}")
        if on_queue:
            back = _time(self.begun + visibility)
            parts.append(
                f"the queue has {counted(on_queue, 'message')}; those that killed workers had received "
                f"come back by {back}"
            )
        return "; ".join(parts or ["nothing is on the queue yet"])


def _time(moment: datetime) -> str:
    return f"{moment:%H:%M:%SZ}"
