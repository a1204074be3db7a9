"""What importing each handler takes over importing boto3, and which packages take it.

Measured: `perf_counter` around the import of `functions.<kind>.handler` in a fresh process each time, with its bytecode
already written, beside the import of boto3 in processes of its own; the medians' difference. Processes of all kinds
take turns, so that other load falls on all of them. Then, by `-X importtime`, the packages whose modules take most
and are not among boto3's own.

Limits: other load makes the medians larger; the difference of the CPU times is beside it and suffers less. What the
handlers import later, on first use (clients, the job, httptools with the first connection), is not in it.
"""

import argparse
import math
import os
import re
import statistics
import subprocess
import sys
from collections import Counter

from bench.result import Result
from tools.local_cloud.ministack import CHECKOUT

BUDGET_MS = 60.0
HANDLERS = ("fan_out", "worker", "dead_letter", "completion", "watchdog")
BARE = "boto3"
MOST_SHOWN = 8
LOOKS = 5
_CODE = """
import sys, time
wall, cpu = time.perf_counter(), time.process_time()
import {module}
print(time.perf_counter() - wall, time.process_time() - cpu)
"""
_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--times", type=int, default=11, help="fresh processes of each kind")
    parser.add_argument("--entries", type=int, default=0, help="not used; for a call of all benchmarks")


def measure(arguments: argparse.Namespace) -> Result:
    """Import each handler again and again."""
    result = Result("imports")
    modules = {BARE: BARE} | {kind: f"functions.{kind}.handler" for kind in HANDLERS}
    for module in modules.values():
        _import(module)
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in modules}
    for _ in range(arguments.times):
        for kind, module in modules.items():
            times[kind].append(_import(module))
    wall = {kind: statistics.median(each for each, _ in found) for kind, found in times.items()}
    cpu = {kind: statistics.median(each for _, each in found) for kind, found in times.items()}
    result.add("bare boto3", wall[BARE], "ms", bare_ms=round(wall[BARE], 1), bare_cpu_ms=round(cpu[BARE], 1))
    bare = _costs(BARE)
    over: dict[str, object] = {}
    for kind in HANDLERS:
        more, more_cpu = wall[kind] - wall[BARE], cpu[kind] - cpu[BARE]
        result.judge(f"{kind} over boto3", more, BUDGET_MS, "ms")
        result.add("  its CPU", more_cpu, "ms")
        packages = _packages(_costs(modules[kind]), bare)
        result.add("  most of it", ", ".join(f"{name} {cost:.0f}" for name, cost in packages.items()), "ms")
        over[kind] = {"ms": round(more, 1), "cpu_ms": round(more_cpu, 1), "packages_ms": packages}
    result.fields["over_boto3"] = over
    return result


def _environ() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "layers/rollcall/python")])}


def _import(module: str) -> tuple[float, float]:
    """Milliseconds of an import in a fresh process, and of CPU."""
    command = [sys.executable, "-c", _CODE.format(module=module)]
    done = subprocess.run(command, cwd=CHECKOUT, env=_environ(), check=True, capture_output=True, text=True)
    wall, cpu = done.stdout.split()
    return float(wall) * 1000, float(cpu) * 1000


def _costs(module: str) -> dict[str, float]:
    """Each imported module's own milliseconds, the least of a few processes."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    found: dict[str, float] = {}
    for _ in range(LOOKS):
        done = subprocess.run(command, cwd=CHECKOUT, env=_environ(), check=True, capture_output=True, text=True)
        for own, name in _LINE.findall(done.stderr):
            found[name] = min(found.get(name, math.inf), int(own) / 1000)
    return found


def _packages(costs: dict[str, float], bare: dict[str, float]) -> dict[str, float]:
    """What is imported beside the bare modules, by package."""
    found: Counter[str] = Counter()
    for name, own in costs.items():
        if name not in bare:
            found[_package(name)] += own  # type: ignore[assignment]
    return {name: round(own, 1) for name, own in found.most_common(MOST_SHOWN)}


def _package(module: str) -> str:
    first = module.partition(".")[0]
    return "standard library" if first in sys.stdlib_module_names else first
