"""Where each function of the engine is at work: at which requests of the small lives, in which seeds and tests.

A mutant of a function is met there, and nowhere else. Made once, of the engine as it is.
"""

import ast
import builtins
import json
import sys
from collections import defaultdict
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.simulation import mutations
from tests.simulation.rewriting import install as install_rewriting

_ENTERED = "__entered__"
_TESTS = Path(__file__).parents[1]
#: Whose tests are asked about a mutant that gets past everything else.
_FOLDERS = (_TESTS / "unit", _TESTS / "functional", _TESTS / "simulation")
#: Tests of the mutations themselves, and lives that a mutant gets past anyway.
_LEFT_OUT = ("test_branches.py", "test_lives.py")


@dataclass(frozen=True, slots=True)
class Guide:
    """By function: `engine.worker.Worker.handle`."""

    #: Numbers of requests, by life.
    requests: dict[str, dict[str, list[int]]]
    seeds: dict[str, list[int]]
    #: The quickest first, and their seconds.
    tests: dict[str, list[tuple[str, float]]]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @staticmethod
    def read(path: Path) -> "Guide":
        return Guide(**json.loads(path.read_text()))


class _Entering(ast.NodeTransformer):
    """Puts `__entered__.add(name)` at the beginning of every function."""

    def __init__(self, module: str) -> None:
        self._name = module.removeprefix("rollcall.")

    def _visit(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> ast.AST:
        before, self._name = self._name, f"{self._name}.{node.name}"
        self.generic_visit(node)
        if not isinstance(node, ast.ClassDef):
            (line,) = ast.parse(f"{_ENTERED}.add({self._name!r})").body
            node.body.insert(0, ast.copy_location(line, node))
        self._name = before
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _visit  # noqa: N815


def install() -> set[str]:
    """The set that functions enter from now on; before the engine is imported."""
    entered: set[str] = set()
    setattr(builtins, _ENTERED, entered)
    install_rewriting(frozenset(mutations.MODULES), lambda module, tree: _Entering(module).visit(tree))
    return entered


def of_lives(seeds: int) -> dict[str, dict[str, object]]:
    """The requests and seeds; in a process that has not imported the engine yet."""
    entered = install()
    from tests.simulation.plans import drawn
    from tests.simulation.playing import Play, play
    from tests.simulation.points import LIVES, Points

    requests: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for name, plan in LIVES.items():
        faults = Points((), plan.seed)
        faults.watch = lambda number, life=name: _note(requests, life, number)  # type: ignore[misc]
        Play(plan, faults=faults).run()
    taken: dict[str, list[int]] = defaultdict(list)
    for seed in range(seeds):
        entered.clear()
        play(drawn(seed))
        for function in entered:
            taken[function].append(seed)
    return {"requests": dict(requests), "seeds": dict(taken)}


def _note(requests: dict[str, dict[str, list[int]]], life: str, number: int) -> None:
    for function in set(_at_work()):
        requests[function].setdefault(life, []).append(number)


def _at_work() -> Iterator[str]:
    frame = sys._getframe()
    while (frame := frame.f_back) is not None:  # type: ignore[assignment]
        module = frame.f_globals.get("__name__", "")
        if module in mutations.MODULES:
            function, _, _ = frame.f_code.co_qualname.replace(".<locals>", "").partition(".<")
            yield f"{module.removeprefix('rollcall.')}.{function}"


class _Recorder:
    """Notes what each test enters, and how long it takes."""

    def __init__(self, entered: set[str]) -> None:
        self._entered = entered
        self.tests: dict[str, list[tuple[str, float]]] = defaultdict(list)
        self._seconds: dict[str, float] = defaultdict(float)
        self._failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._entered.clear()
        result = yield
        for function in self._entered if item.nodeid not in self._failed else ():
            self.tests[function].append((item.nodeid, self._seconds[item.nodeid]))
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration
        if report.failed:
            self._failed.add(report.nodeid)


def of_tests() -> dict[str, list[tuple[str, float]]]:
    """The tests that pass; in a process that has not imported the engine yet."""
    recorder = _Recorder(install())
    run_tests([*map(str, _FOLDERS), *(f"--ignore-glob=*/{name}" for name in _LEFT_OUT)], recorder, first=False)
    return {function: sorted(tests, key=lambda test: test[1]) for function, tests in recorder.tests.items()}


class _FirstFailure:
    """The test that failed first."""

    def __init__(self) -> None:
        self.name: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.name is None:
            self.name = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self.name is None:
            self.name = report.nodeid


def run_tests(tests: list[str], *plugins: object, first: bool = True) -> str | None:
    """The first test that fails, where it ends unless `first` is false; None where none does."""
    failure = _FirstFailure()
    options = [
        *(["-x"] if first else []),
        "-q",
        "-n0",
        "--dist=no",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(_TESTS.parent),
    ]
    pytest.main([*options, *tests], plugins=[failure, *plugins])
    return failure.name
