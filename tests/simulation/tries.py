"""One try of the simulation, played and checked: a seed, a fault at one request, or crashes at two."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from traceback import format_exception_only

from tests.simulation import branches
from tests.simulation.checks import violations
from tests.simulation.faults import Fault
from tests.simulation.plans import drawn
from tests.simulation.playing import Played, play
from tests.simulation.points import LIVES, SMALL, Point, pairs_of, play_with, points_of

PAIRS = "pairs"


@dataclass(frozen=True, slots=True)
class Try:
    """What is tried: a seed of its own, or a life in which something goes wrong at these points."""

    seed: int = 0
    life: str | None = None
    points: tuple[Point, ...] = ()

    def __str__(self) -> str:
        if self.life is None:
            return f"seed {self.seed}"
        return f"{self.life}, {' and '.join(map(str, self.points))}"


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it."""

    about: Try
    violations: list[str]
    faults: Counter[str] = field(default_factory=Counter)
    mishaps: Counter[str] = field(default_factory=Counter)
    log: Counter[str] = field(default_factory=Counter)
    branches: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    calls: int = 0
    runs: int = 0


def seeds(first: int, number: int) -> Iterator[Try]:
    """Tries of consecutive seeds."""
    return (Try(seed) for seed in range(first, first + number))


def points(kinds: Sequence[Fault]) -> Iterator[Try]:
    """Each point of each life at which one of `kinds` can happen."""
    return (Try(life=name, points=(point,)) for name, plan in LIVES.items() for point in points_of(plan, kinds))


def pairs() -> Iterator[Try]:
    """Each pair of crashes of the small life."""
    return (Try(life=PAIRS, points=pair) for pair in pairs_of(SMALL))


def attempt(about: Try) -> Tried:
    """Play and check it. What the simulation itself fails with is a violation, too."""
    try:
        if about.life is None:
            played = play(drawn(about.seed))
        else:
            played = play_with(SMALL if about.life == PAIRS else LIVES[about.life], *about.points)
        return _tried(about, played)
    except Exception as error:
        return Tried(about, ["".join(format_exception_only(error)).strip()])


def _tried(about: Try, played: Played) -> Tried:
    targets = played.targets.values()
    return Tried(
        about,
        violations(played),
        Counter({fault.value: count for fault, count in played.faults.counts.items()}),
        sum((Counter({each.value: count for each, count in target.counts.items()}) for target in targets), Counter()),
        played.log,
        branches.take(),
        sum(played.cloud.requests.values()),
        sum(len(target.orders) for target in targets),
        len(played.runs()),
    )
