"""Money that moves once: recurring transfers, a bank that loses answers and books late, workers that are killed.

Measured: 5,000 transfers at the stand-in bank, which refuses 1 %, moves the money of 1 % and loses the answer, and
books 0.5 % some seconds after it went silent; meanwhile a worker is killed (SIGKILL) every few seconds. Twice: at a
bank that takes idempotency keys, and at one that takes none, where claims and a probe stand in for them. What counts is
how often money moved for each transfer: the bank's own books say.

Limits: a killed worker's messages come back after their visibility timeout, six times the worker's own, as on AWS; the
seconds are mostly that wait. The bank books late by less than the target's `settles_within`, which is shorter here than
the job's own, so that the run ends in minutes.
"""

import argparse
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from bench.result import Result
from rollcall.core.catalog import Declared
from rollcall.core.target import UNLIMITED, Location
from tools.cli.stand_ins import StandIns
from tools.local_cloud.cloud import LocalCloud
from tools.local_cloud.event_source import LONG_POLL_SECONDS
from tools.local_cloud.functions import Function

WITH_KEYS = "functions.jobs.transfers.execute_transfers"
WITH_CLAIMS = "bench.claimed_transfers"
LATE_SECONDS = 5.0


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entries", type=int, default=5_000)
    parser.add_argument("--lost-rate", type=float, default=0.01)
    parser.add_argument("--late-rate", type=float, default=0.005)
    parser.add_argument("--refusal-rate", type=float, default=0.01)
    parser.add_argument("--kill-seconds", type=float, default=5.0, help="between two kills")
    parser.add_argument("--kills", type=int, default=10, help="at most so many workers are killed")


def measure(arguments: argparse.Namespace) -> Result:
    """Run both, and tell how often money moved."""
    result = Result("transfers")
    for label, module in (("with keys", WITH_KEYS), ("with claims", WITH_CLAIMS)):
        ran = run_transfers(
            module,
            arguments.entries,
            arguments.kills,
            arguments.kill_seconds,
            bank_lost_rate=arguments.lost_rate,
            bank_late_rate=arguments.late_rate,
            bank_refusal_rate=arguments.refusal_rate,
        )
        bank = ran["bank"]
        result.fields[label.replace(" ", "_")] = ran
        result.add(f"{label}: transfers", arguments.entries)
        result.add("  money moved", bank["movements"], "times")
        result.add("  for one transfer more than once", len(bank["moved_twice"]), "times")
        result.add("  answers lost, booked late", f"{bank['lost']}, {bank['late']}")
        result.add("  calls answered from the bank's memory", bank["replayed"])
        result.add("  questions to the bank", bank["probes"])
        result.add("  workers killed", ran["killed"])
        result.add("  outcomes", ", ".join(f"{name} {count:,}" for name, count in ran["outcomes"].items()))
        result.add("  from start to completion", ran["seconds"], "s")
    return result


def run_transfers(module: str, entries: int, kills: int, kill_seconds: float, **faults: float) -> dict[str, Any]:
    """One run of the job in `module` on a cloud of its own."""
    job = import_module(module).job
    declared = Declared(job, "transfers", module)
    keyed = job.target.keys is not None
    with (
        StandIns(latency_ms=50, bank_keys=keyed, bank_late_s=LATE_SECONDS, **faults) as stand_ins,
        LocalCloud() as cloud,
    ):
        deployed = cloud.deploy(declared, Location(stand_ins.of("bank"), rate=UNLIMITED), {})
        cloud.fill(job.tables[0], (job.example_record(n) for n in range(entries)))
        begun = datetime.now(UTC)
        with _killing(deployed.worker, kills, kill_seconds) as killed:
            run = cloud.start(job.name, begun, secrets.token_hex(3))
            completed = _completed(cloud, run)
        seconds = (datetime.now(UTC) - begun).total_seconds()
        return {
            "outcomes": {name: count for name, count in completed["outcomes"].items() if count},
            "killed": len(killed),
            "seconds": round(seconds, 1),
            "bank": stand_ins.counts("bank"),
        }


@contextmanager
def _killing(function: Function, most: int, seconds: float) -> Iterator[list[bool]]:
    """Kill one of the function's processes that are at work, every so often; yields those that were."""
    over, killed = threading.Event(), list[bool]()

    def kill() -> None:
        while len(killed) < most and not over.wait(seconds):
            if function.kill_one():
                killed.append(True)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def _completed(cloud: LocalCloud, run: str) -> Mapping[str, Any]:
    while True:
        for detail in cloud.announcements(LONG_POLL_SECONDS):
            if detail["run"] == run:
                return detail
