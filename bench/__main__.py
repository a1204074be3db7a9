"""`python -m bench` lists the benchmarks and runs them all; `python -m bench NAME [--entries N]` runs one."""

import argparse
import importlib
import os
import sys

from bench.result import Result
from tools.local_cloud.isolation import isolate

#: In the order of how long they take.
BENCHMARKS = (
    "imports",
    "deployment",
    "cost",
    "http_clients",
    "requests",
    "transfers",
    "donations",
    "throughput",
    "kills",
    "fan_out_memory",
)


def main() -> int:
    """Exit code 1 where a claim does not hold, on whatever machine; else 0, whatever the figures are.

    A budget is judged by people, on a machine that they know.
    """
    modules = {name: importlib.import_module(f"bench.{name}") for name in BENCHMARKS}
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what the budgets promise.")
    names = parser.add_subparsers(dest="name", metavar="NAME", help="a benchmark; all of them without")
    for name, module in modules.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        module.options(names.add_parser(name, help=summary, description=module.__doc__))
    arguments = parser.parse_args()
    isolate(os.environ)
    if arguments.name is not None:
        found: Result = modules[arguments.name].measure(arguments)
        found.show()
        return 1 if found.broken else 0
    parser.print_help()
    broken: list[str] = []
    for name in BENCHMARKS:
        print(flush=True)
        found = modules[name].measure(parser.parse_args([name]))
        found.show()
        broken += found.broken
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
