"""What each mutant has to get past: small lives, seeds, crash points. The first violation is its end."""

from collections.abc import Iterator
from itertools import chain, islice

from tests.simulation.checks import violations
from tests.simulation.points import CRASHES, LIVES, play_with, points_of
from tests.simulation.plans import drawn
from tests.simulation.playing import Played, play

#: Every so many crash points, in the second round.
STRIDE = 9


def run(seeds: int, rounds: int) -> str:
    """The first violation; empty where there is none."""
    for about, played in islice(_lives(seeds, rounds), None):
        if found := violations(played):
            return f"{about}: {found[0]}"
    return ""


def _lives(seeds: int, rounds: int) -> Iterator[tuple[str, Played]]:
    first = ((name, play_with(plan)) for name, plan in LIVES.items())
    drawn_ = ((f"seed {seed}", play(drawn(seed))) for seed in range(seeds))
    return chain(first, drawn_, _crashes() if rounds > 1 else ())


def _crashes() -> Iterator[tuple[str, Played]]:
    for name, plan in LIVES.items():
        for point in points_of(plan, CRASHES)[::STRIDE]:
            yield f"{name}, {point}", play_with(plan, point)
