"""What each mutant has to get past, where its function is at work: lives, points, seeds and tests."""

from collections.abc import Iterator
from itertools import chain

from tests.simulation import guide as guides
from tests.simulation.checks import violations
from tests.simulation.guide import Guide
from tests.simulation.plans import drawn
from tests.simulation.playing import Played, play
from tests.simulation.points import ANSWERS, CRASHES, LIVES, Point, play_with

#: Requests of each life at which something goes wrong while the function is at work, spread over all there are.
REQUESTS_A_LIFE = 8
#: Seconds of tests, by what they took when nothing was broken.
SECONDS_OF_TESTS = 12.0


def run(function: str | None, guide: Guide, seeds: int) -> str:
    """What finds a mutant of this function; empty where nothing does. None: the engine as it is."""
    for about, played in chain(_lives(), _points(function, guide), _seeds(function, guide, seeds)):
        if found := violations(played):
            return f"{about}: {found[0]}"
    return "" if function is None else _tests(guide.tests.get(function, []))


def _lives() -> Iterator[tuple[str, Played]]:
    return ((name, play_with(plan)) for name, plan in LIVES.items())


def _points(function: str | None, guide: Guide) -> Iterator[tuple[str, Played]]:
    for name, requests in guide.requests.get(function or "", {}).items():
        for number in _spread(requests, REQUESTS_A_LIFE):
            for fault in (*CRASHES, *ANSWERS):
                point = Point(number, fault)
                yield f"{name}, {point}", play_with(LIVES[name], point)


def _seeds(function: str | None, guide: Guide, most: int) -> Iterator[tuple[str, Played]]:
    known = range(most) if function is None else _spread(guide.seeds.get(function, []), most)
    return ((f"seed {seed}", play(drawn(seed))) for seed in known)


def _spread(numbers: list[int], most: int) -> list[int]:
    return numbers[:: max(1, -(-len(numbers) // most))] if most else []


def _tests(known: list[tuple[str, float]]) -> str:
    chosen, left = [], SECONDS_OF_TESTS
    for name, seconds in known:
        left -= seconds
        if left < 0:
            break
        chosen.append(name)
    failed = guides.run_tests(chosen) if chosen else None
    return "" if failed is None else f"test: {failed}"
