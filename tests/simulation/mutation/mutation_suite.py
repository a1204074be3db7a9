"""What each mutant has to get past: lives in which it makes a difference, and tests that it would change, too."""

from tests.simulation.mutation import guide as guides
from tests.simulation.mutation.guide import Told
from tests.simulation.plays.faults import Fault
from tests.simulation.plays.points import Point
from tests.simulation.plays.tries import Try, attempt

#: Seconds of tests, by what they took when nothing was broken.
SECONDS_OF_TESTS = 12.0


def run(lives: list[Told], tests: list[tuple[str, float]]) -> str:
    """What finds a mutant, in these lives and then in these tests; empty where nothing does."""
    for seed, life, points in lives:
        about = Try(seed, life, tuple(Point(request, Fault(fault)) for request, fault in points))
        if found := attempt(about).violations:
            return f"{about}: {found[0]}"
    return _tests(tests)


def _tests(known: list[tuple[str, float]]) -> str:
    chosen, left = [], SECONDS_OF_TESTS
    for name, seconds in known:
        left -= seconds
        if left < 0:
            break
        chosen.append(name)
    failed = guides.run_tests(chosen) if chosen else None
    return "" if failed is None else f"test: {failed}"
