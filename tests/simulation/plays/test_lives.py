"""Lives of runs under faults: two hundred seeds, and crash points of small lives, every one of the first.

`make simulate SEEDS=10000` tries more, and pairs of crash points. What fails here is replayed, request by request, by
`python -m tests.simulation --seed N`.
"""

import pytest

from tests.simulation.checks.checks import violations
from tests.simulation.plays.plans import Plan, drawn
from tests.simulation.plays.playing import Play, play
from tests.simulation.plays.points import CRASHES, LIVES, SMALL, Points, play_with, points_of, requests_of
from tests.simulation.plays.tries import attempt, seeds

SEEDS, A_TEST = 200, 25
#: Lives, and the how-manieth of their crash points are tried here; `make simulate` tries all of all lives.
TRIED = {"with keys, and a redrive": 1, "with claims and a probe": 3, "two runs, one queued": 3}
PARTS = 8


@pytest.mark.parametrize("first", range(0, SEEDS, A_TEST))
def test_seeds(first: int) -> None:
    broken = {str(each.about): each.violations for each in map(attempt, seeds(first, A_TEST)) if each.violations}
    assert broken == {}


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("life", TRIED)
def test_whoever_dies_at_any_request(life: str, part: int) -> None:
    plan = LIVES[life]
    tried = points_of(plan, CRASHES)[:: TRIED[life]]
    found = {str(point): violations(play_with(plan, point)) for point in tried[part::PARTS]}
    assert {point: wrong for point, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("plan", LIVES.values(), ids=LIVES)
def test_a_life_without_deaths(plan: Plan) -> None:
    faults = Points((), plan.seed)
    assert violations(Play(plan, faults=faults).run()) == []
    assert len(faults.requests) > 10
    assert sum(faults.counts.values()) == 0


def test_the_counting_tree_of_a_small_life_has_three_levels() -> None:
    played = play_with(LIVES["with keys, and a redrive"])
    levels = {name.split("#")[3] for _, name in played.audit.table.items if name.startswith("node#")}
    assert levels == {"0", "1", "2"}
    assert len(requests_of(SMALL)) < len(requests_of(LIVES["with keys, and a redrive"])) / 2


def test_a_seed_replays_exactly() -> None:
    def told() -> list[str]:
        lines: list[str] = []
        play(drawn(24), lines.append)
        return lines

    assert told() == told()


def test_a_seed_draws_the_same_plan_and_others_draw_others() -> None:
    assert drawn(7) == drawn(7)
    assert len({str(drawn(seed)) for seed in range(50)}) == 50
