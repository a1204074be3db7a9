"""A run of the main job, or of one like it in batches, on a local cloud, with what the benchmarks want to know."""

import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from bench.executions import history
from rollcall.core.catalog import Declared, find
from rollcall.core.sizing import worker_sizing
from rollcall.core.target import UNLIMITED, Location
from tools.cli.local_run import UNBILLED
from tools.cli.stand_ins import StandIns
from tools.local_cloud import cloud as local_cloud
from tools.local_cloud import resources
from tools.local_cloud.cloud import LocalCloud
from tools.local_cloud.event_source import LONG_POLL_SECONDS, Batch, EventSource
from tools.local_cloud.functions import Function, FunctionError

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

JOB = "client-deposit-update"
#: The same in batches of fifty.
BATCHED = "bench.batched_deposits"


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that is complete."""

    entries: int
    clean: bool
    #: From the start to the announcement.
    seconds: float
    #: From the target's first call to its last.
    calling_seconds: float
    callbacks: int
    injected: int
    #: Requests by service and operation, as `rollcall run --json` counts them.
    requests: Mapping[str, Mapping[str, int]]
    #: By kind of function, and of what the local cloud itself consists of.
    cpu_seconds: Mapping[str, float]
    #: Items of the ledger by kind, as DynamoDB's JSON.
    items: list[dict[str, Any]]
    #: Of a job in batches: the types of its execution's events.
    events: list[str] = field(default_factory=list)

    @property
    def requests_per_entry(self) -> float:
        """As `rollcall run --json` reckons it: without the reads of the stream, which AWS does not bill."""
        return sum(sum(counts.values()) for name, counts in self.requests.items() if name != UNBILLED) / self.entries


class ShuffledSource(EventSource):
    """Receives as ever and keeps what it has; hands out batches of any of it: ten messages of any ten chunks.

    The queue sees the same requests. Nothing is handed out before everything is received, so all chunks are mixed.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._random = random.Random(0)  # noqa: S311 - the same order each time
        self._pool: list[MessageTypeDef] = []
        self._lock = threading.Lock()

    def receive(self, wait_seconds: int = LONG_POLL_SECONDS) -> Batch | None:
        with self._lock:
            if len(self._pool) < self._batch_size:
                self._fill(wait_seconds)
            messages, self._pool = self._pool[: self._batch_size], self._pool[self._batch_size :]
            return Batch(messages) if messages else None

    def _fill(self, wait_seconds: int) -> None:
        """Receive until nothing comes for a second: all that was dispatched."""
        while (batch := super().receive(1 if self._pool else wait_seconds)) is not None:
            self._pool += batch.messages
        self._random.shuffle(self._pool)


def run_main_job(
    entries: int,
    *,
    latency_ms: float = 50.0,
    error_rate: float = 0.01,
    rate: str = UNLIMITED,
    shuffled: bool = False,
    warm: bool = False,
    watch: Callable[[LocalCloud], None] | None = None,
    module: str | None = None,
) -> Ran:
    """Run it once on a cloud of its own, its target at `rate`.

    `warm` lets every process of a function start and make its clients before the clock starts to run.
    `watch` is called when everything is deployed, for profiling. `module` is that of another job with the same report.
    """
    declared = find(JOB) if module is None else Declared(import_module(module).job, "accounting", module)
    job = declared.job
    with ExitStack() as ending:
        serving = {"job_module": declared.module, "entries": entries, "latency_ms": latency_ms}
        stand_ins = ending.enter_context(StandIns(error_rate=error_rate, **serving))
        if shuffled:
            ending.enter_context(mock.patch.object(local_cloud, "EventSource", ShuffledSource))
        cloud = ending.enter_context(LocalCloud())
        reports = {report.name: Location(f"{stand_ins.base}/report/{job.name}") for report in job.reports}
        deployed = cloud.deploy(declared, Location(f"{stand_ins.base}/target", rate=rate), reports)
        if warm:
            _warm(cloud, deployed.worker, worker_sizing(job).maximum_concurrency)
            _warm_fan_out(deployed.fan_out)
        if watch is not None:
            watch(cloud)
        begun, own = time.monotonic(), time.process_time()
        run = cloud.start(job.name, datetime.now(UTC), secrets.token_hex(3))
        completed = _wait(cloud, run)
        seconds = time.monotonic() - begun
        own = time.process_time() - own
        stats = stand_ins.stats()
        events = [] if job.delivery is None else history(cloud, job.name, run)
        items = _items(cloud)
        emulator = _cpu_seconds(cloud.ministack.process.pid)
        cloud.stop()
        cpu = {kind: used.cpu_seconds for kind, used in cloud.used.items() if used.cpu_seconds}
        first, last = stats["first_call"], stats["last_call"]
        return Ran(
            entries=entries,
            clean=bool(completed["clean"]) and int(completed["total"]) == entries,
            seconds=seconds,
            calling_seconds=last - first if first is not None else 0.0,
            callbacks=stats["calls"],
            injected=stats["injected"],
            requests=cloud.requests.by_service(),
            cpu_seconds=cpu | {"pollers": own, "emulator": emulator, "stand_in": stats["cpu_seconds"]},
            items=items,
            events=events,
        )


def _warm(cloud: LocalCloud, worker: Function, environments: int) -> None:
    """Each environment handles an event without records: it imports everything and makes its clients."""
    completion = cloud.functions[next(name for name in cloud.functions if "completion" in name)]
    with ThreadPoolExecutor(environments + 1) as threads:
        for function in [*[worker] * environments, completion]:
            threads.submit(function.invoke, {"Records": []})


def _warm_fan_out(fan_out: Function) -> None:
    """It looks for a run that is not there, says so, and has its clients."""
    with suppress(FunctionError):
        fan_out.invoke({"resume": f"{JOB}-20000101T000000Z"})


def _wait(cloud: LocalCloud, run: str) -> Mapping[str, Any]:
    while True:
        for detail in cloud.announcements(LONG_POLL_SECONDS):
            if detail["run"] == run:
                return detail


def _items(cloud: LocalCloud) -> list[dict[str, Any]]:
    pages = cloud.client("dynamodb").get_paginator("scan").paginate(TableName=resources.LEDGER)
    return [item for page in pages for item in page["Items"]]


def _cpu_seconds(pid: int) -> float:
    """What a process that still runs used, on Linux; elsewhere nothing is known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
