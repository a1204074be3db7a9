"""Report what the tests cost: CPU seconds per folder, and the slowest tests."""

import os
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeAlias

import pytest

#: Per second, the unit of CPU time in /proc.
TICKS: Final = os.sysconf("SC_CLK_TCK")
#: Tests that the report lists by name.
SLOWEST: Final = 20
#: The row for CPU time outside of tests: interpreters, imports and collection.
ELSEWHERE: Final = "collection and start"
#: The plugin's name, and its key in what a worker process of pytest-xdist hands to its controller.
OUTPUT: Final = "rollcall_costs"


class Cost(NamedTuple):
    """The seconds that one test took."""

    #: User and system time, with that of processes below the one that runs the test.
    cpu: float
    #: By the wall clock.
    elapsed: float


#: Costs by the id of the test.
Costs: TypeAlias = Mapping[str, Cost]


@dataclass
class Measured:
    """The costs of the tests that one process ran."""

    tests: dict[str, Cost] = field(default_factory=dict)
    #: CPU seconds of processes, outside of their tests.
    elsewhere: float = 0.0

    def add(self, other: "Measured") -> None:
        self.tests.update(other.tests)
        self.elsewhere += other.elsewhere

    def to_fields(self) -> dict[str, object]:
        """The form that pytest-xdist carries between processes."""
        return {"tests": {name: list(cost) for name, cost in self.tests.items()}, "elsewhere": self.elsewhere}

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "Measured":
        tests, elsewhere = fields["tests"], fields["elsewhere"]
        assert isinstance(tests, dict)
        assert isinstance(elsewhere, float)
        return cls({str(name): Cost(*cost) for name, cost in tests.items()}, elsewhere)


def folder_of(test: str) -> str:
    """Return the folder directly below `tests` that holds a test, or `tests` itself."""
    file = test.partition("::")[0].split("/")
    return "/".join(file[: min(2, len(file) - 1)]) or "."


def per_folder(costs: Costs) -> dict[str, float]:
    """Add up the CPU seconds of tests by folder, the most expensive folder first."""
    found: dict[str, float] = {}
    for test, cost in costs.items():
        folder = folder_of(test)
        found[folder] = found.get(folder, 0.0) + cost.cpu
    return dict(sorted(found.items(), key=lambda each: each[1], reverse=True))


def slowest(costs: Costs, most: int = SLOWEST) -> list[tuple[str, Cost]]:
    """List the tests that took longest by the wall clock, the slowest first."""
    return sorted(costs.items(), key=lambda each: each[1].elapsed, reverse=True)[:most]


def lines_of(measured: Measured) -> Iterable[str]:
    """Write the report."""
    rows = [*per_folder(measured.tests).items(), (ELSEWHERE, measured.elsewhere)]
    yield "CPU seconds"
    for name, seconds in rows:
        yield f"{seconds:8.1f}  {name}"
    yield f"{sum(seconds for _, seconds in rows):8.1f}  in all"
    yield f"slowest {SLOWEST} tests: seconds elapsed, CPU seconds"
    for test, cost in slowest(measured.tests):
        yield f"{cost.elapsed:8.1f} {cost.cpu:8.1f}  {test}"


def cpu_seconds() -> float:
    """Return the user and system time of this process and of its descendants, also of those still at work."""
    return sum(os.times()[:4]) + sum(map(_of_process, _children("self")))


def _of_process(pid: str) -> float:
    """Return the CPU seconds of a process that is at work, of its ended children and of those at work."""
    try:
        # Beyond the command's name: utime, stime, cutime and cstime (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS + sum(map(_of_process, _children(pid)))


def _children(pid: str) -> list[str]:
    """List the child processes of a process; none where there is no Linux, so that they count when they have ended."""
    found: list[str] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += thread.read_text().split()
    return found


class _Node(Protocol):
    """A worker process, as the controller of pytest-xdist knows it."""

    workeroutput: Mapping[str, Mapping[str, object]]


class Reporting:
    """The plugin: measures in the processes that run tests, reports in the one that has the terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._measured = Measured()
        self._distributed = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Measure a test with the fixtures that are set up and torn down for it."""
        cpu, since = cpu_seconds(), time.monotonic()
        try:
            return (yield)
        finally:
            self._measured.tests[item.nodeid] = Cost(cpu_seconds() - cpu, time.monotonic() - since)

    def pytest_sessionfinish(self) -> None:
        """Hand a worker process's costs to the controller."""
        output: dict[str, object] | None = getattr(self._config, "workeroutput", None)
        if output is not None:
            self._measured.elsewhere += cpu_seconds() - self._in_tests()
            output[OUTPUT] = self._measured.to_fields()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: _Node) -> None:
        """Take a worker process's costs into the controller's; a worker that crashed hands over none."""
        output = getattr(node, "workeroutput", {})
        if OUTPUT in output:
            self._distributed = True
            self._measured.add(Measured.from_fields(output[OUTPUT]))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the report where the tests have ended; pytest's own last line follows it."""
        if not self._measured.tests:
            return
        # A controller's children are the workers, whose time they reported themselves.
        own = sum(os.times()[:2]) if self._distributed else cpu_seconds() - self._in_tests()
        terminalreporter.section("costs")
        for line in lines_of(Measured(self._measured.tests, self._measured.elsewhere + own)):
            terminalreporter.write_line(line)

    def _in_tests(self) -> float:
        return sum(cost.cpu for cost in self._measured.tests.values())


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin, also for `pytest -p tests.reporting`."""
    config.pluginmanager.register(Reporting(config), OUTPUT)
