"""Many seeds, and every fault at every request, side by side, and what they hit."""

import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from rollcall.core.actions import Action
from tests.simulation.checks.checks import violations
from tests.simulation.mutation import branches
from tests.simulation.plays import tries
from tests.simulation.plays.counterparty import Mishap
from tests.simulation.plays.faults import Fault
from tests.simulation.plays.plans import drawn
from tests.simulation.plays.playing import play
from tests.simulation.plays.points import ANSWERS, CRASHES
from tests.simulation.plays.tries import Tried, Try

SHOWN = 3
#: Branches that are shown, those that were taken most seldom.
RAREST = 25


class Sum:
    """What all tries came to."""

    def __init__(self) -> None:
        self.failed: list[Tried] = []
        self.tries = 0
        self.faults: Counter[str] = Counter()
        self.mishaps: Counter[str] = Counter()
        self.log: Counter[str] = Counter()
        self.branches: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()

    def add(self, tried: Tried) -> None:
        self.tries += 1
        if tried.violations:
            self.failed.append(tried)
        self.faults += tried.faults
        self.mishaps += tried.mishaps
        self.log += tried.log
        self.branches += tried.branches
        self.totals += Counter(requests=tried.requests, calls=tried.calls, runs=tried.runs)

    @property
    def _hits(self) -> list[tuple[str, int]]:
        """Everything that can happen, and how often it did."""
        return [
            *((f"fault: {each.value}", self.faults[each.value]) for each in Fault),
            *((f"mishap: {each.value}", self.mishaps[each.value]) for each in Mishap),
            *((f"log: {each.value}", self.log[each.value]) for each in Action),
        ]

    def table(self) -> Table:
        """How often everything that can go wrong did, and what the engine said of it."""
        table = Table("what", Column("times", justify="right"), title=f"{self.tries:,} lives")
        taken = len(branches.names()) - len(list(branches.never(self.branches)))
        rows = [*self.totals.items(), *self._hits, (f"branches of {len(branches.names()):,}", taken)]
        for name, count in rows:
            table.add_row(name, f"{count:,}")
        rare = sorted((count, name) for name, count in self.branches.items())[:RAREST]
        table.add_section()
        for count, name in rare:
            table.add_row(f"branch: {name}", f"{count:,}")
        return table

    @property
    def never(self) -> list[str]:
        """What should happen somewhere, and never did; then the engine's branches that nobody took."""
        return [*(name for name, count in self._hits if not count), *branches.never(self.branches)]


def main(
    seeds: Annotated[int, typer.Option(min=0, help="How many seeds.")] = 1_000,
    first: Annotated[int, typer.Option(help="The first of them.")] = 0,
    crash_points: Annotated[bool, typer.Option(help="A crash before and after each request of small lives.")] = True,
    answer_points: Annotated[bool, typer.Option(help="Each request of them lost, made twice, throttled.")] = True,
    pairs: Annotated[bool, typer.Option(help="Every pair of crashes of the smallest.")] = True,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at work.")] = os.cpu_count() or 1,
    seed: Annotated[int | None, typer.Option(help="Replay this seed, and tell all that happens.")] = None,
) -> None:
    """Simulate lives of runs under faults, and check every guarantee. The last line is one JSON object."""
    if seed is not None:
        raise typer.Exit(_replay(seed))
    began = time.monotonic()
    console, total = Console(stderr=True), Sum()
    crashes = list(tries.points(CRASHES)) if crash_points else []
    answers = list(tries.points(ANSWERS)) if answer_points else []
    couples = list(tries.pairs()) if pairs else []
    _run(console, total, [*crashes, *answers, *couples, *tries.seeds(first, seeds)], jobs)
    console.print(total.table())
    for tried in total.failed[:20]:
        console.print(f"[red]{tried.about}[/red]", *tried.violations[:SHOWN], sep="\n  ", soft_wrap=True, markup=True)
    print(
        json.dumps(
            {
                "seeds": seeds,
                "violations": len(total.failed),
                "crash_points": len(crashes),
                "answer_points": len(answers),
                "pairs": len(couples),
                "faults": dict(sorted(total.faults.items())),
                "branches_never_hit": total.never,
                "failed": [str(tried.about) for tried in total.failed[:20]],
                "seconds": round(time.monotonic() - began, 1),
            }
        )
    )
    raise typer.Exit(1 if total.failed else 0)


def _run(console: Console, total: Sum, wanted: Iterable[Try], jobs: int) -> None:
    wanted = list(wanted)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        multiprocessing.get_context("fork").Pool(jobs) as pool,
        Progress(*columns, TimeRemainingColumn(), console=console) as progress,
    ):
        shown = progress.add_task("lives", total=len(wanted))
        for tried in pool.imap_unordered(tries.attempt, wanted, chunksize=8):
            total.add(tried)
            progress.update(
                shown, advance=1, description=f"lives, {len(total.failed)} broken" if total.failed else "lives"
            )


def _replay(seed: int) -> int:
    plan = drawn(seed)
    print(plan)
    found = violations(play(plan, print))
    for violation in found:
        print("VIOLATION", violation)
    return 1 if found else 0
