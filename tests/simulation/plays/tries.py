"""One try of the simulation, played and checked: a seed, a fault at one request, or crashes at two."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from traceback import format_exception_only

from tests.simulation.checks.checks import violations
from tests.simulation.models.gate import Sent
from tests.simulation.mutation import branches
from tests.simulation.plays.faults import Fault
from tests.simulation.plays.pipeline_lives import PIPELINE_LIVES, PlayedPipeline, play_pipeline
from tests.simulation.plays.pipeline_lives import violations as pipeline_violations
from tests.simulation.plays.plans import drawn
from tests.simulation.plays.playing import Played, play
from tests.simulation.plays.points import (
    LIVES,
    SMALL,
    Point,
    Points,
    Watch,
    pairs_of,
    play_with,
    points_among,
    unwatched,
)

PAIRS = "pairs"


@dataclass(frozen=True, slots=True)
class Try:
    """What is tried: a seed of its own, or a life in which something goes wrong at these points."""

    seed: int = 0
    #: One of `points.LIVES`, of the pipelines' lives, or the small one.
    life: str | None = None
    points: tuple[Point, ...] = ()

    def __str__(self) -> str:
        if self.life is None:
            return f"seed {self.seed}"
        return ", ".join([self.life, *([" and ".join(map(str, self.points))] if self.points else [])])


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


def lives() -> list[str]:
    """All in which something goes wrong at one request."""
    return [*LIVES, *PIPELINE_LIVES]


def points(kinds: Sequence[Fault]) -> Iterator[Try]:
    """Each point of each life at which one of `kinds` can happen."""
    for life in lives():
        requests = requests_of(life)
        yield from (Try(life=life, points=(point,)) for point in points_among(requests, kinds))


def requests_of(life: str, watch: Watch = unwatched) -> list[Sent]:
    """The requests of a life in which nothing goes wrong; `watch` is told of each before it is served."""
    faults = _play(life, watch=watch).faults
    assert isinstance(faults, Points)
    return faults.requests


def _play(life: str, *points: Point, watch: Watch = unwatched) -> Played | PlayedPipeline:
    if life in PIPELINE_LIVES:
        return play_pipeline(PIPELINE_LIVES[life], *points, watch=watch)
    return play_with(SMALL if life == PAIRS else LIVES[life], *points, watch=watch)


def pairs() -> Iterator[Try]:
    """Each pair of crashes of the small life."""
    return (Try(life=PAIRS, points=pair) for pair in pairs_of(SMALL))


def attempt(about: Try) -> Tried:
    """Play and check it. What the simulation itself fails with is a violation, too."""
    try:
        played = play(drawn(about.seed)) if about.life is None else _play(about.life, *about.points)
        return _tried(about, played)
    except Exception as error:
        return Tried(about, ["".join(format_exception_only(error)).strip()])


def _tried(about: Try, played: Played | PlayedPipeline) -> Tried:
    faults = Counter({fault.value: count for fault, count in played.faults.counts.items()})
    requests = sum(played.cloud.requests.values())
    if isinstance(played, PlayedPipeline):
        calls = sum(map(len, played.calls.values())) + len(played.cloud.target(played.child).calls)
        return Tried(
            about, pipeline_violations(played), faults, Counter(), Counter(), branches.take(), requests, calls, 1
        )
    targets = played.targets.values()
    return Tried(
        about,
        violations(played),
        faults,
        sum((Counter({each.value: count for each, count in target.counts.items()}) for target in targets), Counter()),
        played.log,
        branches.take(),
        requests,
        sum(len(target.orders) for target in targets),
        len(played.runs()),
    )
