"""What a callback's HTTP client takes of the processor, beside others that could be it.

Measured: CPU time of a process that makes calls (PUT, 150 bytes of JSON, an idempotency key) to a target on loopback
which answers after 50 ms, ten at a time over kept connections, the opening of them left out; per 1,000 calls, the
least of a few rounds in which all clients take turns. Beside it the ratio to ours, and the time that importing takes
once boto3 is there. `asyncio streams` is no client but the floor for one: it understands this target's answers only.

Limits: without TLS, whose cost is the same for all. CPU of the kernel for loopback is in it, and is more than a
network card's. Other load makes all of them dearer by some tens of per cent; the ratios suffer less.
"""

import argparse
import json
import subprocess
import sys

from bench.http_client import MODULES
from bench.result import Result
from tools.cli.stand_ins import StandIns
from tools.local_cloud.ministack import CHECKOUT

OURS = "rollcall"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entries", type=int, default=1_000, help="calls of each client in a round")
    parser.add_argument("--width", type=int, default=10, help="calls at a time")
    parser.add_argument("--rounds", type=int, default=3)


def measure(arguments: argparse.Namespace) -> Result:
    """Let each client call, again and again."""
    result = Result("http_clients")
    cpu: dict[str, float] = {}
    imports: dict[str, float] = {}
    with StandIns(latency_ms=50.0) as stand_ins:
        for _ in range(arguments.rounds):
            for name in MODULES:
                took = _call(name, f"{stand_ins.base}/target", arguments.entries, arguments.width)
                cpu[name] = min(took["cpu_ms_per_call"], cpu.get(name, took["cpu_ms_per_call"]))
                imports[name] = min(took["import_cpu_ms"], imports.get(name, took["import_cpu_ms"]))
    for name, milliseconds in cpu.items():
        ratio = milliseconds / cpu[OURS]
        shown = f"{milliseconds:.3f} s, {ratio:.2f} x; imported in {imports[name]:.1f} ms of CPU"
        result.add(f"{name}, per 1,000 calls", shown)
    result.fields["cpu_seconds_per_1000"] = {name: round(figure, 4) for name, figure in cpu.items()}
    result.fields["import_cpu_ms"] = {name: round(figure, 1) for name, figure in imports.items()}
    return result


def _call(name: str, url: str, calls: int, width: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.http_client", name, url, str(calls), str(width)]
    done = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found
