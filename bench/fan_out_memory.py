"""Fan-out's peak memory for 10,000 and for 1,000,000 entries: it must not grow with their number.

Measured: the high-water mark (VmHWM; elsewhere ru_maxrss) of one process that is the main job's fan-out function as the
local cloud runs it: it streams the report from the stand-in over HTTP, writes the manifest to S3, seals, and dispatches
window by window, resumed in the same process as the watchdog does, until everything is sent. The callbacks are left
out: between two windows what was sent is settled in the ledger by this benchmark, and the queue is a stub on loopback
(`queue_stub.py`) that takes every SendMessageBatch and keeps nothing. S3 and DynamoDB are MiniStack.

Limits: the memory is that of the client; what the queue would hold is none of its business. `--entries` makes the
larger run smaller where time is short. The high-water mark holds the start-up's, so growth below that would not be
seen.
"""

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.main_job import JOB
from bench.result import Result
from rollcall.adapters.ledger import chunk_updates
from rollcall.adapters.ledger.records import Ledger
from rollcall.core.catalog import find
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord, RunState, iso, run_id
from rollcall.core.settings import Settings
from rollcall.core.sizing import FAN_OUT_TIMEOUT
from rollcall.core.target import Location
from rollcall.core.tree import Node
from tools.cli.stand_ins import StandIns
from tools.local_cloud import resources
from tools.local_cloud.address import session
from tools.local_cloud.counting import Requests
from tools.local_cloud.fork_server import ForkServer
from tools.local_cloud.functions import Function
from tools.local_cloud.isolation import REGION
from tools.local_cloud.ministack import CHECKOUT, MiniStack

SMALL = 10_000
BUDGET_MB = 5.0


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the larger run")
    parser.add_argument("--small", type=int, default=SMALL, help="of the smaller run")


@dataclass(frozen=True, slots=True)
class FannedOut:
    """A fan-out that sent everything."""

    entries: int
    peak_memory_mb: float
    cpu_seconds: float
    seconds: float
    invocations: int
    taken: dict[str, int]


def measure(arguments: argparse.Namespace) -> Result:
    """Fan out the smaller and the larger report, each in a process of its own."""
    result = Result("fan_out_memory")
    small, large = fan_out(arguments.small), fan_out(arguments.entries)
    for found in (small, large):
        name = f"{found.entries:,} entries"
        result.add(name, found.peak_memory_mb, "MB")
        result.add("  invocations, messages", f"{found.invocations}, {found.taken['messages']:,}")
        result.add("  seconds, CPU seconds", f"{found.seconds:.1f}, {found.cpu_seconds:.1f}")
    growth = large.peak_memory_mb - small.peak_memory_mb
    result.judge("growth", growth, BUDGET_MB, "MB", small=_fields(small), large=_fields(large))
    return result


def _fields(found: FannedOut) -> dict[str, Any]:
    return {
        "entries": found.entries,
        "peak_memory_mb": round(found.peak_memory_mb, 2),
        "cpu_seconds": round(found.cpu_seconds, 2),
        "seconds": round(found.seconds, 1),
        "invocations": found.invocations,
        **found.taken,
    }


def fan_out(entries: int) -> FannedOut:
    """Enumerate and dispatch a report of `entries`."""
    declared = find(JOB)
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="rollcall-bench-")))
        stand_ins = ending.enter_context(StandIns(job_module=declared.module, entries=entries))
        queue = ending.enter_context(_queue_stub())
        ministack = MiniStack(folder)
        ending.callback(ministack.stop)
        ledger = _services(ministack)
        settings = Settings(
            environment=resources.ENVIRONMENT,
            ledger=resources.LEDGER,
            manifests=resources.MANIFESTS,
            bus=resources.BUS,
            job_module=declared.module,
            queue_url=f"{queue}/000000000000/{JOB}.fifo",
            reports={report.name: Location(f"{stand_ins.base}/report/{JOB}") for report in declared.job.reports},
        )
        import_path = [str(CHECKOUT), str(CHECKOUT / "layers/rollcall/python")]
        forks = ForkServer(folder / "functions.log", import_path, ministack.keys)
        ending.callback(forks.stop)
        function = Function(
            "fan-out",
            "fan_out",
            settings.to_environ() | {"AWS_ENDPOINT_URL": ministack.endpoint, "AWS_ENDPOINT_URL_SQS": queue},
            timeout=FAN_OUT_TIMEOUT,
            log=folder / "fan-out.log",
            requests=Requests(),
            forks=forks,
        )
        ending.callback(function.stop)
        begun = time.monotonic()
        invocations = _send_all(function, ledger)
        seconds = time.monotonic() - begun
        with urllib.request.urlopen(f"{queue}/stats") as answer:  # noqa: S310 - loopback
            taken = json.load(answer)
        if taken["messages"] != entries:
            raise AssertionError(f"{taken['messages']} messages were sent for {entries} entries")
        used = function.stop()
        return FannedOut(entries, used.peak_memory_mb, used.cpu_seconds, seconds, invocations, taken)


@contextmanager
def _queue_stub() -> Iterator[str]:
    command = [sys.executable, "-m", "bench.queue_stub"]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout is not None else ""
        finally:
            process.communicate()


def _services(ministack: MiniStack) -> Ledger:
    ours = session(ministack.keys)
    clients: dict[str, Any] = {name: ours.client(name, endpoint_url=ministack.endpoint) for name in ("dynamodb", "s3")}
    resources.make_ledger(clients["dynamodb"])
    resources.make_manifests(clients["s3"], REGION)
    return Ledger(clients["dynamodb"], resources.LEDGER)


def _send_all(function: Function, ledger: Ledger) -> int:
    """Start the run, and settle and resume until the last window; returns the number of invocations."""
    now, nonce = datetime.now(UTC), secrets.token_hex(3)
    name = run_id(JOB, now, nonce)
    function.invoke({"scheduled_time": iso(now), "nonce": nonce})
    settled, invocations = 0, 1
    while (run := _record(ledger, name)).state is RunState.DISPATCHING:
        for chunk in range(settled // run.chunk_size, run.checkpoint // run.chunk_size):
            everyone = dict.fromkeys(range(run.chunk_size), Outcome.SUCCEEDED)
            chunk_updates.settle(ledger, run, Node(0, chunk), chunk_updates.Batch(everyone), now)
        settled = run.checkpoint
        function.invoke({"resume": name})
        invocations += 1
    if run.state is not RunState.RUNNING:
        raise AssertionError(f"the run is {run.state}: {run.reason}")
    return invocations


def _record(ledger: Ledger, name: str) -> RunRecord:
    record = ledger.run(name)
    if record is None:
        raise AssertionError(f"there is no {name}")
    return record
