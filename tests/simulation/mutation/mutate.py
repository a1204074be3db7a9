"""`python -m tests.simulation.mutation.mutate`: breaks every guarding line of the engine, for the simulation to find.

Each mutant lives in a process of its own, forked before the engine is imported; no file is changed.
"""

import json
import os
import re
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import boto3  # noqa: F401 - what the engine needs is imported once, before the forks
import pydantic  # noqa: F401
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.simulation.mutation import guide as guides
from tests.simulation.mutation import mutations
from tests.simulation.mutation.guide import Guide
from tests.simulation.mutation.mutations import Mutant

TABLE = Path(__file__).parents[3] / "docs/mutations.md"
#: Survivors by their ids, in groups, and why each group may live.
SURVIVORS = Path(__file__).parent / "survivors.toml"
HUNG = "it hangs"
KILLED = "## What is killed"
_LONGEST, _LONGEST_ERROR = 110, 2_000
#: Lives with one fault, and seeds, in which mutants are looked for.
POINTS, SEEDS = 8_000, 1_500


@dataclass(frozen=True, slots=True)
class Judged:
    """A mutant, and what killed it in a few words; empty where it lives."""

    mutant: Mutant
    killed_by: str

    @property
    def by_test(self) -> bool:
        return self.killed_by.startswith("test: ")


def in_few_words(found: str) -> str:
    """Of `life, point: check: entry …`, the check."""
    if not found or found == HUNG or found.startswith("test: "):
        return found
    _, _, violation = found.partition(": ")
    return violation.partition(":")[0][:_LONGEST]


def _forked(work: Callable[[], str], answer: Path) -> int:
    """A process that writes what `work` returns, or raises; the engine is imported there, and not here."""
    process = os.fork()
    if process:
        return process
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    try:
        found = work()
    except BaseException as error:
        found = f"raised: {type(error).__name__}: {error}"[:_LONGEST_ERROR]
    answer.write_text(found)
    os._exit(0)


def _asked(*works: Callable[[], str]) -> list[str]:
    """What each of them returns, in processes of their own."""
    with TemporaryDirectory() as folder:
        answers = [Path(folder, str(number)) for number in range(len(works))]
        for process in [_forked(work, answer) for work, answer in zip(works, answers, strict=True)]:
            os.waitpid(process, 0)
        return [answer.read_text() for answer in answers]


def _guided(jobs: int) -> Guide:
    """Where to meet the mutants. Raises SystemExit where that cannot be found out."""
    found = _asked(lambda: json.dumps(guides.of_lives(POINTS, SEEDS, jobs)), lambda: json.dumps(guides.of_tests()))
    for each in found:
        if each.startswith("raised"):
            sys.exit(f"the engine as it is fails: {each}")
    lives, tests = map(json.loads, found)
    return Guide(lives, tests)


def _met(mutant: Mutant, guide: Guide, lives: int) -> str:
    mutations.install(mutant)
    from tests.simulation.mutation import mutation_suite

    return mutation_suite.run(guide.lives.get(mutant.id, [])[:lives], guide.tests.get(mutant.id, []))


def _judged(mutants: list[Mutant], guide: Guide, jobs: int, limit: float, lives: int) -> Iterator[Judged]:
    """Mutants as they are judged, `jobs` at a time."""
    waiting, running = list(enumerate(mutants)), dict[int, tuple[int, Mutant, float]]()
    with TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < jobs:
                number, mutant = waiting.pop(0)
                process = _forked(partial(_met, mutant, guide, lives), Path(folder, str(number)))
                running[process] = number, mutant, time.monotonic()
            time.sleep(0.005)
            for process, (number, mutant, began) in list(running.items()):
                ended, _ = os.waitpid(process, os.WNOHANG)
                if not ended and time.monotonic() - began < limit:
                    continue
                if not ended:
                    os.kill(process, signal.SIGKILL)
                    os.waitpid(process, 0)
                del running[process]
                answer = Path(folder, str(number))
                yield Judged(mutant, in_few_words(answer.read_text()) if answer.exists() else HUNG)


def reasons() -> dict[str, str]:
    """Why survivors may live, by id."""
    found: list[dict[str, Any]] = tomllib.loads(SURVIVORS.read_text())["survivors"] if SURVIVORS.exists() else []
    return {mutant: each["why"] for each in found for mutant in each["mutants"]}


def table(judged: list[Judged]) -> str:
    """The page of all mutants."""
    why = reasons()
    alive: dict[str, list[str]] = {}
    for each in judged:
        if not each.killed_by:
            alive.setdefault(why.get(each.mutant.id, "Not explained."), []).append(each.mutant.id)
    killed = sorted((each for each in judged if each.killed_by), key=lambda each: each.mutant.id)
    by_tests = sum(each.by_test for each in killed)
    lines = [
        "# Mutants",
        "",
        "Written by `make mutate`. Every line of the engine that keeps a guarantee is lost or turned round, one at a",
        "time (`tests/simulation/mutation/mutations.py` finds them in the code), and the simulation has to notice.",
        "What gets past its lives, points and seeds meets the tests in which it makes a difference; `test: …` names",
        "the one that failed.",
        "",
        f"{len(judged):,} mutants: {len(killed) - by_tests:,} killed by the simulation, {by_tests:,} by other tests, "
        f"{len(judged) - len(killed):,} alive.",
        "",
        "## What lives, and why",
        "",
        "`tests/simulation/mutation/survivors.toml` has the reasons.",
        "",
        "| mutant |",
        "|---|",
    ]
    for reason, names in sorted(alive.items()):
        lines += [f"| **{cell(reason)}** |", *(f"| `{cell(name)}` |" for name in sorted(names))]
    lines += ["", KILLED, "", "| mutant | killed by |", "|---|---|"]
    lines += [f"| `{cell(each.mutant.id)}` | {cell(each.killed_by)} |" for each in killed]
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """As it stands in the table."""
    return text.replace("|", "\\|").replace("`", "'")


def judged_before(mutants: list[Mutant]) -> dict[str, Judged]:
    """Those of `mutants` that the table has, by id."""
    if not TABLE.exists():
        return {}
    alive, _, killed = TABLE.read_text().partition(KILLED)
    found = dict.fromkeys(re.findall(r"^\| `(.+?)` \|", alive, re.MULTILINE), "")
    found |= dict(re.findall(r"^\| `(.+?)` \| (.+) \|$", killed, re.MULTILINE))
    return {each.id: Judged(each, found[cell(each.id)]) for each in mutants if cell(each.id) in found}


def main(
    jobs: Annotated[int, typer.Option(min=1, help="Processes at work.")] = os.cpu_count() or 1,
    only: Annotated[str, typer.Option(help="Mutants whose id has this text.")] = "",
    whole: Annotated[bool, typer.Option("--whole", help="Also those that are in the table already.")] = False,
    alive: Annotated[bool, typer.Option("--alive", help="Also those that live, says the table.")] = False,
    lives: Annotated[int, typer.Option(max=guides.MOST_LIVES, help="Lives that each has to get past.")] = 200,
    limit: Annotated[float, typer.Option(help="Seconds after which a mutant hangs.")] = 180.0,
    guide: Annotated[Path | None, typer.Option(help="Where the guide is kept, or is to be.")] = None,
) -> None:
    """Break every guarding line of the engine in turn, as far as the table does not tell of it.

    Writes docs/mutations.md, also when it is interrupted. The last line is one JSON object.
    """
    began = time.monotonic()
    every = mutations.mutants()
    judged = {} if whole else judged_before(every)
    if alive:
        judged = {name: each for name, each in judged.items() if each.killed_by}
    waiting = [mutant for mutant in every if only in mutant.id and mutant.id not in judged]
    try:
        for each in _shown(waiting, guide, jobs, limit, lives) if waiting else ():
            judged[each.mutant.id] = each
    finally:
        TABLE.write_text(table(list(judged.values())))
    survivors = {name for name, each in judged.items() if not each.killed_by}
    print(
        json.dumps(
            {
                "mutants": len(every),
                "killed": len(judged) - len(survivors),
                "killed_by_tests": sum(each.by_test for each in judged.values()),
                "hung": sum(each.killed_by == HUNG for each in judged.values()),
                "survived": len(survivors),
                "explained": len(reasons().keys() & survivors),
                "not_judged": len(every) - len(judged),
                "seconds": round(time.monotonic() - began, 1),
            }
        )
    )
    sys.exit(1 if survivors - reasons().keys() else 0)


def _shown(mutants: list[Mutant], guide: Path | None, jobs: int, limit: float, lives: int) -> Iterator[Judged]:
    """Mutants as they are judged, with their progress."""
    known = Guide.read(guide) if guide is not None and guide.exists() else _guided(jobs)
    if guide is not None:
        known.save(guide)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        shown, alive = progress.add_task("mutants", total=len(mutants)), 0
        for each in _judged(mutants, known, jobs, limit, lives):
            alive += not each.killed_by
            progress.update(shown, advance=1, description=f"mutants, {alive} alive")
            yield each


if __name__ == "__main__":
    typer.run(main)
