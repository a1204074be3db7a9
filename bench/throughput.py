"""Time and CPU of a run of the main job, against the floor and against asyncio without a queue.

Measured: 10,000 entries, an HTTP callback each, answered after 50 ms, 1 % with 503, 50 at a time, all functions'
processes started and their clients made before the clock runs; from the start of fan-out to the announcement, and its
ratio to the floor (calls * latency / 50). Beside it, in the same run of this benchmark and against the same kind of
stand-in, a client that only calls (`reference.py`). CPU of the handlers' own processes per 1,000 entries is the
difference between this run and one of a tenth of the size, so that start-up is in neither.

Limits: everything shares the cores of this machine: the emulator (one process, one core at most), the polling that
Lambda does in the cloud, the stand-in, and seven processes of functions. With two cores they, and not the design, set
the time; `cpu_seconds` says who used how much. On a machine with other load the seconds mean nothing; the CPU seconds
grow by some tens of per cent, too.
"""

import argparse
import json
import subprocess
import sys
from typing import Any

from bench.main_job import JOB, Ran, run_main_job
from bench.result import Result
from rollcall.core.catalog import find
from tools.cli.stand_ins import StandIns
from tools.local_cloud.ministack import CHECKOUT

RATIO_BUDGET = 1.2
CPU_BUDGET = 0.4
HANDLERS = ("fan_out", "worker", "completion")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--error-rate", type=float, default=0.01)


def measure(arguments: argparse.Namespace) -> Result:
    """Run the reference, a small run and the run itself."""
    result = Result("throughput")
    entries, rates = arguments.entries, {"latency_ms": arguments.latency_ms, "error_rate": arguments.error_rate}
    width = find(JOB).job.concurrency
    floor = entries * (1 + rates["error_rate"]) * rates["latency_ms"] / 1000 / width
    reference = _reference(entries, width, **rates)
    small = run_main_job(max(1, entries // 10), warm=True, **rates)
    ran = run_main_job(entries, warm=True, **rates)
    result.add("the floor", floor, "s", floor_seconds=floor, entries=entries)
    result.judge("the run, over the floor", ran.seconds / floor, RATIO_BUDGET, "x", seconds=round(ran.seconds, 2))
    result.add("the run", ran.seconds, "s", clean=ran.clean)
    result.add("  first call to last", ran.calling_seconds, "s", calling_seconds=round(ran.calling_seconds, 2))
    result.add("asyncio, no queue", reference["seconds"], "s", reference=reference)
    result.add("  over the floor", reference["seconds"] / floor, "x")
    result.add("  its CPU per 1,000 entries", reference["cpu_seconds"] / entries * 1000, "s")
    used = _per_thousand(ran, small)
    handlers = sum(used[kind] for kind in HANDLERS if kind in used)
    result.judge("handlers' CPU per 1,000 entries", handlers, CPU_BUDGET, "s", cpu_seconds=dict(ran.cpu_seconds))
    for kind, seconds in used.items():
        result.add(f"  {kind}", seconds, "s")
    result.fields["cpu_seconds_per_1000"] = {kind: round(seconds, 4) for kind, seconds in used.items()}
    return result


def _reference(entries: int, width: int, **rates: float) -> dict[str, Any]:
    with StandIns(**rates) as stand_ins:
        command = [sys.executable, "-m", "bench.reference", f"{stand_ins.base}/target", str(entries), str(width)]
        done = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def _per_thousand(ran: Ran, small: Ran) -> dict[str, float]:
    more = max(1, ran.entries - small.entries) / 1000
    return {kind: (used - small.cpu_seconds.get(kind, 0.0)) / more for kind, used in ran.cpu_seconds.items()}
