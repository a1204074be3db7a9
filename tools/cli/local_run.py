"""A run on this machine, from binding the job to its result."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from rollcall.core.catalog import Declared, find
from rollcall.core.errors import RollcallError
from rollcall.core.outcome import Outcome
from rollcall.core.pipeline import Pipeline
from rollcall.core.run import Redrive, RunRecord
from rollcall.core.target import UNLIMITED, Bucket, Location, Report
from rollcall.engine.batch.pipeline_steps import Step, steps_of
from rollcall.engine.runs.failures import Failure, failures
from rollcall.engine.runs.progress import Progress, progress
from tools.cli.credentials import Own
from tools.cli.kept import as_deployment
from tools.cli.locations import Named
from tools.cli.looks import Look, StallWatch
from tools.cli.redriving import redrivable
from tools.cli.stand_ins import StandIns
from tools.local_cloud.cloud import LocalCloud
from tools.local_cloud.counting import TABLES
from tools.local_cloud.functions import FunctionError
from tools.local_cloud.kept_data import make_private

#: Entries that did not succeed of which a result tells; all are counted.
MOST_LISTED = 1_000
LOOK_SECONDS = 1
#: https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
UNBILLED = "dynamodb-streams"
#: What a result has of the stand-in bank's counts.
BANK_COUNTS = ("movements", "movements_per_reference", "moved_twice", "refused", "probes")
TARGET_SECRET = "local-target"
REPORT_SECRET = "local-report"


@dataclass(frozen=True, slots=True)
class Options:
    """What `rollcall run` was asked for."""

    #: Size of the stand-in report; of a job that reads none, items of its first table.
    entries: int = 8_000
    #: The user's own report and target instead of stand-ins.
    own: Own = field(default_factory=Own)
    latency_ms: float = 50.0
    error_rate: float = 0.01
    seed: int = 0
    #: The target's, as `20/s burst 40`; None: as declared for the user's own target, and no limit for a stand-in.
    rate: str | None = None
    #: More options of the stand-ins, by name.
    stand_in: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    #: Where data is kept for later commands; temporary where None.
    folder: Path | None = None
    #: MiniStack's port; a free one where None.
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended."""

    record: RunRecord
    #: The announcement's own fields.
    completed: Mapping[str, Any]
    #: How many announcements of this run were heard.
    completions: int
    seconds: float
    failures: list[Failure]
    #: What the target's stand-in counted; None where the user's own was called.
    stand_in: Mapping[str, Any] | None
    requests: Mapping[str, Mapping[str, int]]
    messages_sent: int
    #: By kind of function.
    peak_memory_mb: Mapping[str, float]
    cpu_seconds: Mapping[str, float]
    #: Of a pipeline: its steps, in order, and the run that a step consists of.
    steps: tuple[Step, ...] = ()
    #: What is in the buckets that the job writes to: the facts of each object, by bucket and key.
    objects: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        return bool(self.completed["clean"])

    def outcome(self, outcome: Outcome) -> int:
        return int(self.completed["outcomes"][outcome.value])

    @property
    def requests_per_entry(self) -> float | None:
        """Requests over entries, without those to the job's own tables, and without those that Lambda itself makes
        and AWS does not bill: reads of the stream. Of a pipeline, over its steps and the entries of their runs.

        None for a run without entries.
        """
        total = int(self.completed["total"]) + sum(step.run.total for step in self.steps if step.run is not None)
        counted = sum(
            sum(counts.values()) for service, counts in self.requests.items() if service not in (UNBILLED, TABLES)
        )
        return counted / total if total else None

    def fields(self) -> dict[str, Any]:
        """The result as JSON fields."""
        stand_in = self.stand_in or {}
        per_entry = self.requests_per_entry
        return {
            "run_id": self.record.id,
            "job": self.record.job,
            "generation": self.completed["generation"],
            "state": self.record.state.value,
            "reason": self.record.reason,
            "clean": self.clean,
            "total": self.completed["total"],
            **{outcome.value: self.outcome(outcome) for outcome in Outcome},
            "duplicates": self.completed["duplicates"],
            "callbacks": stand_in.get("calls", stand_in.get("posts")),
            "injected": stand_in.get("injected", stand_in.get("errors")),
            "calls_per_entry": stand_in.get("calls_per_entry"),
            "bank": {name: stand_in[name] for name in BANK_COUNTS} if "movements" in stand_in else None,
            "steps": [step.fields() for step in self.steps] or None,
            "messages_sent": self.messages_sent,
            "completions": self.completions,
            "objects": self.objects,
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "requests_per_entry": None if per_entry is None else round(per_entry, 4),
            "peak_memory_mb": {kind: round(peak, 1) for kind, peak in self.peak_memory_mb.items()},
            "cpu_seconds": {kind: round(used, 2) for kind, used in self.cpu_seconds.items()},
        }


def _target_shown(declared: Declared) -> str:
    """Whose stand-in's counts a result has: a pipeline's are those of its last fan-out."""
    return next((step.job.target.name for step in reversed(_fan_outs(declared))), declared.job.target.name)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A cloud with the job deployed to it, and the stand-ins that it calls."""

    declared: Declared
    options: Options
    cloud: LocalCloud
    stand_ins: StandIns | None


@contextmanager
def prepared(declared: Declared, options: Options) -> Iterator[Prepared]:
    """Everything that a run of the job needs, ended afterwards."""
    job = declared.job
    own_report, own_target = options.own.report, options.own.target
    needed = _reports(declared, options)
    with ExitStack() as ending:
        # First of all, it takes the folder of kept data, which stand-ins write, too.
        cloud = ending.enter_context(LocalCloud(folder=options.folder, port=options.port))
        stand_ins = _stand_ins(declared, options, ending)
        ending.callback(cloud.stop)  # before the stand-ins that its functions call
        ending.enter_context(cloud.telling())
        base = stand_ins.base if stand_ins is not None else ""
        rate = options.rate or (None if own_target is not None else UNLIMITED)
        report = _bound(cloud, own_report or Named(Location(f"{base}/report/{job.name}")), REPORT_SECRET)
        for each in (*_fan_outs(declared), declared):
            located, called = None, each.job.target
            if called.http:
                at = own_target or Named(Location(stand_ins.of(called.name) if stand_ins is not None else ""))
                located = replace(_bound(cloud, at, TARGET_SECRET), rate=rate)
            cloud.deploy(each, located, {need.name: report for need in needed} if each is declared else {})
        yield Prepared(declared, options, cloud, stand_ins)


def run_locally(declared: Declared, options: Options, look: Callable[[Look], None]) -> Result:
    """Run a job on a local cloud of its own and end that cloud; `look` is shown the progress every second.

    Raises RollcallError, MiniStackError and StandInsError with one line that says what to do.
    """
    with prepared(declared, options) as ready:
        _fill(ready.cloud, declared, options)
        begun = time.monotonic()
        run = ready.cloud.start(declared.job.name, datetime.now(UTC), secrets.token_hex(3), options.params)
        return result_of(ready, run, 1, look, begun)


def redrive_locally(
    declared: Declared, options: Options, run: str, redrive: Redrive, look: Callable[[Look], None]
) -> Result:
    """Settle chosen entries of a run on a kept local cloud again.

    Raises RollcallError where there is no such run, it cannot be redriven, or nothing of it is chosen.
    """
    with prepared(declared, options) as ready:
        cloud = ready.cloud
        record = redrivable(as_deployment(cloud), declared.job, run, redrive)
        begun = time.monotonic()
        try:
            cloud.redrive(declared.job.name, record, redrive)
        except FunctionError as error:
            raise RollcallError(str(error).removeprefix("RollcallError: ")) from error
        return result_of(ready, run, record.generation + 1, look, begun)


def result_of(
    ready: Prepared, run: str, generation: int, look: Callable[[Look], None], begun: float | None = None
) -> Result:
    """How a run ends, once it is announced; its cloud is ended then. `begun`: by the monotonic clock; None: now."""
    begun = time.monotonic() if begun is None else begun
    cloud, target = ready.cloud, _target_shown(ready.declared)
    completed = _wait(ready, run, generation, begun, look)
    seconds = time.monotonic() - begun
    record = cloud.ledger.run(run)
    if record is None:
        raise RollcallError(f"{run} was announced but is not in the ledger")
    listed = list(islice(failures(cloud.ledger, cloud.manifests, record), MOST_LISTED))
    steps = steps_of(cloud.ledger, cloud.manifests, ready.declared.job, record)
    completions = sum(_is_of(detail, run, generation) for detail in cloud.announcements())
    stand_ins = ready.stand_ins if ready.options.own.target is None else None
    counted = stand_ins.counts(target) if stand_ins is not None else None
    objects = {bucket.name: _facts_of(cloud, bucket) for bucket in ready.declared.job.buckets if bucket.writes}
    cloud.finish()
    cloud.stop()
    return Result(
        record=record,
        completed=completed,
        completions=completions,
        seconds=seconds,
        objects=objects,
        failures=listed,
        stand_in=counted,
        requests=cloud.requests.by_service(),
        steps=steps,
        messages_sent=cloud.requests.messages_accepted,
        peak_memory_mb={kind: used.peak_memory_mb for kind, used in cloud.used.items() if used.peak_memory_mb},
        cpu_seconds={kind: used.cpu_seconds for kind, used in cloud.used.items() if used.cpu_seconds},
    )


def _fan_outs(declared: Declared) -> list[Declared]:
    """The jobs whose runs are steps of a pipeline, which are deployed with it.

    Raises RollcallError for one that reads a report: it would need a stand-in of its own.
    """
    found = [find(name) for name in declared.job.fan_outs] if isinstance(declared.job, Pipeline) else []
    for step in found:
        if step.job.reports:
            raise RollcallError(f"{step.job.name} reads a report; a step takes what the steps before it left")
    return found


def _facts_of(cloud: LocalCloud, bucket: Bucket) -> Mapping[str, Mapping[str, str]]:
    objects = cloud.objects(bucket)
    return {key: dict(objects.facts(key)) for key in list(objects.keys())}


def _reports(declared: Declared, options: Options) -> tuple[Report, ...]:
    reports = declared.job.reports
    if options.own.report is not None and len(reports) != 1:
        raise RollcallError(
            f"--report binds the report of a job that reads one; {declared.job.name} reads {len(reports)}"
        )
    return reports


def _stand_ins(declared: Declared, options: Options, ending: ExitStack) -> StandIns | None:
    """Whatever the user did not bring himself."""
    job, report = declared.job, bool(declared.job.reports) and options.own.report is None
    called = any(each.job.target.http for each in (declared, *_fan_outs(declared)))
    if not report and (options.own.target is not None or not called):
        return None
    if report and job.example_record is None:
        raise RollcallError(
            f"{job.name} has no stand-in report: add an @job.example to its file, or pass --report FILE|URL"
        )
    serving = {"job_module": declared.module, "entries": options.entries} if report else {}
    if report and job.reports[0].array is not None:
        serving["items"] = job.reports[0].array
    failing: dict[str, Any] = {
        "error_rate": options.error_rate,
        "bank_error_rate": options.error_rate,
        "seed": options.seed,
    }
    if options.folder is not None:
        failing["bank_books"] = str(options.folder.absolute() / "bank.jsonl")
        make_private(options.folder)
    asked = {"latency_ms": options.latency_ms, **failing, **serving, **options.stand_in}
    return ending.enter_context(StandIns(**asked))


def _fill(cloud: LocalCloud, declared: Declared, options: Options) -> None:
    """Put objects into buckets, and items into the table that stands for a report; those that are there from an earlier
    run stay alone.
    """
    job = declared.job
    for bucket, fill in job.fills.items():
        objects = cloud.objects(bucket)
        if next(objects.keys(), None) is None:
            fill(objects, options.entries)
    if job.reports or not job.tables or job.fills:
        return
    if job.example_record is None:
        raise RollcallError(f"{job.name} has no items for its table {job.tables[0].name}: add an @job.example")
    examples = {job.tables[0]: job.example_record, **job.example_items}
    for table, example_item in examples.items():
        cloud.fill(table, (item for n in range(options.entries) if (item := example_item(n)) is not None))


def _bound(cloud: LocalCloud, named: Named, secret: str) -> Location:
    """The location; credentials go where deployed environments keep them."""
    if named.credentials is not None:
        cloud.put_secret(secret, named.credentials)
    return named.kept_in(secret)


def _is_of(detail: Mapping[str, Any], run: str, generation: int) -> bool:
    return bool(detail["run"] == run and detail["generation"] == generation)


def _wait(ready: Prepared, run: str, generation: int, begun: float, look: Callable[[Look], None]) -> Mapping[str, Any]:
    """The run's announcement. Raises RollcallError where none will come: a function fails again and again."""
    cloud = ready.cloud
    stalled = StallWatch(kept=cloud.persistent)
    for seen in _looks(ready, run, begun):
        look(seen)
        for detail in cloud.announcements(LOOK_SECONDS):
            if _is_of(detail, run, generation):
                look(Look(run, seen.record, int(detail["total"]), time.monotonic() - begun))
                return detail
        stalled.check(seen)
    raise AssertionError("unreachable")


def _looks(ready: Prepared, run: str, begun: float) -> Iterator[Look]:
    cloud, target = ready.cloud, ready.declared.job.target.name
    while True:
        troubles = cloud.troubles()
        record = cloud.ledger.run(run)
        seen = progress(cloud.ledger, record, target) if record is not None else Progress(0)
        yield Look(run, record, seen.settled, time.monotonic() - begun, troubles, seen.held)
