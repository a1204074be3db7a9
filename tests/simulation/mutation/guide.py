"""Where each mutant makes a difference: in which lives of the simulation, and in which tests.

Made once, of the engine as it is, which tells when it comes to something that a mutant would change. A life is worth
playing with a mutant when something goes wrong while its function is at work, or when what goes wrong has the engine
come there more or less often.
"""

import builtins
import json
import multiprocessing
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.simulation.mutation import mutations
from tests.simulation.mutation.rewriting import install as install_rewriting

if TYPE_CHECKING:
    from tests.simulation.plays.tries import Try

_TESTS = Path(__file__).parents[2]
#: Whose tests are asked about a mutant that gets past everything else.
_FOLDERS = (_TESTS / "unit", _TESTS / "functional", _TESTS / "simulation")
#: Tests of the mutations themselves, and lives that a mutant gets past anyway.
_LEFT_OUT = ("test_branches.py", "test_lives.py", "test_pipeline_lives.py", "test_batch_lives.py")
#: A try as JSON has it: seed, life, and the request and fault of each point.
Told: TypeAlias = tuple[int, str | None, list[tuple[int, str]]]
#: The lives and the tests of a mutant that are kept.
MOST_LIVES, MOST_TESTS = 400, 100


@dataclass(frozen=True, slots=True)
class Guide:
    """Where to meet mutants."""

    #: By mutant, the most promising first.
    lives: dict[str, list[Told]]
    #: By mutant: tests and their seconds, the quickest first, those of the simulation last.
    tests: dict[str, list[tuple[str, float]]]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @staticmethod
    def read(path: Path) -> "Guide":
        return Guide(**json.loads(path.read_text()))


# --- the lives ---


class _Meetings:
    """How often the engine has come to what each mutant would change."""

    def __init__(self, number: int) -> None:
        self.counts = [0] * number

    def met(self, value: object, number: int, only: bool | None = None) -> object:
        if only is None or bool(value) is only:
            self.counts[number] += 1
        return value

    def met_if_it_fails(self, update: Any, number: int) -> Any:
        update.__dict__.setdefault("met_if_it_fails", set()).add(number)
        return update

    def failed(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.counts[number] += 1


class _Condition(str):
    """A condition of a write, which knows the mutants that it is about."""

    numbers: frozenset[int]


def _conditions(parameters: object) -> Iterator[_Condition]:
    match parameters:
        case _Condition():
            yield parameters
        case dict():
            yield from chain.from_iterable(map(_conditions, parameters.values()))
        case list():
            yield from chain.from_iterable(map(_conditions, parameters))


def _watch(mutants: list[str]) -> _Meetings:
    """Has the engine tell from now on; before it is imported."""
    meetings = _Meetings(len(mutants))
    setattr(builtins, mutations.MET, meetings.met)
    setattr(builtins, mutations.MET_IF_IT_FAILS, meetings.met_if_it_fails)
    number_of = {mutant: number for number, mutant in enumerate(mutants)}
    install_rewriting(frozenset(mutations.MODULES), lambda module, tree: mutations.watched(module, tree, number_of))
    _watch_conditions(meetings)
    return meetings


def _watch_conditions(meetings: _Meetings) -> None:
    from rollcall.adapters.ledger import runs
    from rollcall.adapters.ledger.update import ConditionFailed, Update

    expressions, send, transact = Update.expressions, Update.send, runs._transact

    def knowing(update: Update) -> dict[str, Any]:
        found = expressions(update)
        if "ConditionExpression" in found:
            found["ConditionExpression"] = condition = _Condition(found["ConditionExpression"])
            condition.numbers = frozenset(_numbers_of(update))
        return found

    def sent(update: Update, *arguments: Any, **more: Any) -> dict[str, Any]:
        try:
            return send(update, *arguments, **more)
        except ConditionFailed:
            meetings.failed(_numbers_of(update))
            raise

    def transacted(*arguments: Any) -> None:
        try:
            transact(*arguments)
        except runs.Conflict:
            for condition in _conditions(list(arguments)):
                meetings.failed(condition.numbers)
            raise

    Update.expressions, Update.send = knowing, sent  # type: ignore[method-assign, assignment]
    runs._transact = transacted  # type: ignore[assignment]


def _numbers_of(update: Any) -> Iterable[int]:
    found: set[int] = update.__dict__.get("met_if_it_fails", set())
    return found


@dataclass(frozen=True, slots=True)
class _Base:
    """A life in which nothing goes wrong."""

    counts: list[int]
    #: The functions at work at each request, by its number less one.
    at_work: list[frozenset[str]]


@dataclass(slots=True)
class _Met:
    """The tries in which a mutant makes a difference."""

    plain: list["Try"]
    #: Something goes wrong while its function is at work.
    at_work: list["Try"]
    #: What goes wrong has the engine come there more or less often.
    affected: list["Try"]
    seeds: list["Try"]

    def best(self) -> list[Told]:
        turns = chain.from_iterable(zip_longest(self.affected, self.at_work, self.seeds))
        found = dict.fromkeys(each for each in chain(self.plain, turns) if each is not None)
        return [_told(each) for each in list(found)[:MOST_LIVES]]


def _told(about: "Try") -> Told:
    return about.seed, about.life, [(point.request, point.fault.value) for point in about.points]


def of_lives(most: int, seeds: int, jobs: int) -> dict[str, list[Told]]:
    """The lives of each mutant, by its id, of so many points and so many seeds; before the engine is imported."""
    mutants = [mutant.id for mutant in mutations.mutants()]
    where = [mutant.where for mutant in mutations.mutants()]
    meetings = _watch(mutants)
    from tests.simulation.plays import tries
    from tests.simulation.plays.points import ANSWERS, CRASHES

    bases = {life: _base(life, meetings) for life in tries.lives()}
    points = list(tries.points((*CRASHES, *ANSWERS)))
    random.Random(seeds).shuffle(points)  # noqa: S311
    wanted = [*(tries.Try(life=life) for life in tries.lives()), *points[:most], *tries.seeds(0, seeds)]

    def asked(about: "Try") -> list[int]:
        """Nothing of a life in which the engine as it is fails: `make simulate` tells of it."""
        meetings.counts[:] = [0] * len(mutants)
        return [] if tries.attempt(about).violations else list(meetings.counts)

    found = [_Met([], [], [], []) for _ in mutants]
    for about, counts in zip(wanted, _side_by_side(asked, wanted, jobs), strict=True):
        base = bases[about.life] if about.life is not None else None
        for number, count in enumerate(counts):
            if base is None:
                if count:
                    found[number].seeds.append(about)
            elif not about.points:
                if count:
                    found[number].plain.append(about)
            elif count or base.counts[number]:
                if count != base.counts[number]:
                    found[number].affected.append(about)
                if where[number] in base.at_work[about.points[0].request - 1]:
                    found[number].at_work.append(about)
    return {mutant: met.best() for mutant, met in zip(mutants, found, strict=True)}


_work: Callable[[Any], Any]


def _do(about: object) -> Any:
    return _work(about)


def _side_by_side(work: Callable[[Any], Any], wanted: list[Any], jobs: int) -> Iterator[Any]:
    global _work  # what the forked processes find
    _work = work
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(_do, wanted, chunksize=8)


def _base(life: str, meetings: _Meetings) -> _Base:
    from tests.simulation.plays import tries

    at_work: list[frozenset[str]] = []
    meetings.counts[:] = [0] * len(meetings.counts)
    tries.requests_of(life, lambda _: at_work.append(frozenset(_at_work())))
    return _Base(list(meetings.counts), at_work)


def _at_work() -> Iterator[str]:
    frame = sys._getframe()
    while (frame := frame.f_back) is not None:  # type: ignore[assignment]
        module = frame.f_globals.get("__name__", "")
        if module in mutations.MODULES:
            function, _, _ = frame.f_code.co_qualname.replace(".<locals>", "").partition(".<")
            yield f"{module.removeprefix('rollcall.')}.{function}"


# --- the tests ---


class _Recorder:
    """Notes which mutants each test meets, and how long it takes."""

    def __init__(self, meetings: _Meetings) -> None:
        self._meetings = meetings
        self.tests: dict[int, list[tuple[str, float]]] = defaultdict(list)
        self._seconds: dict[str, float] = defaultdict(float)
        self._failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        counts = self._meetings.counts
        counts[:] = [0] * len(counts)
        result = yield
        for number, count in enumerate(counts if item.nodeid not in self._failed else ()):
            if count:
                self.tests[number].append((item.nodeid, self._seconds[item.nodeid]))
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration
        if report.failed:
            self._failed.add(report.nodeid)


def of_tests() -> dict[str, list[tuple[str, float]]]:
    """The tests that pass; in a process that has not imported the engine yet."""
    mutants = [mutant.id for mutant in mutations.mutants()]
    recorder = _Recorder(_watch(mutants))
    run_tests([*map(str, _FOLDERS), *(f"--ignore-glob=*/{name}" for name in _LEFT_OUT)], recorder, first=False)
    return {
        mutants[number]: sorted(tests, key=lambda test: ("/simulation/" in test[0], test[1]))[:MOST_TESTS]
        for number, tests in recorder.tests.items()
    }


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
