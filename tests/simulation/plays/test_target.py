"""The simulated target: what it answers, and what it remembers."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import pytest

from rollcall import Response
from rollcall.core.call import IDEMPOTENCY_HEADER, Request
from rollcall.core.errors import NotSent, Unanswered
from tests.simulation.models.virtual_time import START, VirtualClock, VirtualLoop
from tests.simulation.plays.target import Outage, SimulatedTarget, failing, scripted

SECOND = timedelta(seconds=1)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner


@pytest.fixture
def target(runner: asyncio.Runner) -> SimulatedTarget:
    loop = runner.get_loop()
    assert isinstance(loop, VirtualLoop)
    return SimulatedTarget(VirtualClock(loop), latency=SECOND / 2)


def request(key: str) -> Request:
    return Request("PUT", f"/deposits/{key}", {IDEMPOTENCY_HEADER: f"key of {key}"}, None)


async def statuses(target: SimulatedTarget, *keys: str) -> list[int]:
    """Of calls one after another; 0 for one without an answer."""
    found: list[int] = []
    for key in keys:
        try:
            response: Response = await target.send(request(key))
            found.append(response.status)
        except (NotSent, Unanswered):
            found.append(0)
    return found


def test_it_answers_after_its_latency(runner: asyncio.Runner, target: SimulatedTarget) -> None:
    assert runner.run(statuses(target, "a", "b")) == [200, 200]
    assert [call.at - START for call in target.calls] == [timedelta(0), SECOND / 2]
    assert target.clock.now() == START + SECOND


def test_scripts_and_outages(runner: asyncio.Runner, target: SimulatedTarget) -> None:
    target.script = scripted({"a": [503, Unanswered("reset"), NotSent("refused")]})
    assert runner.run(statuses(target, "a", "a", "a", "a")) == [503, 0, 0, 200]
    # A call whose answer was lost took effect, one that was never sent or refused did not.
    assert target.effects == {"key of a": 2}
    now = target.clock.now()
    target.outages = [Outage(now, now + SECOND, NotSent("refused"))]
    assert runner.run(statuses(target, "b", "b", "b")) == [0, 0, 200]
    assert target.between(now, now + SECOND) == 2


def test_its_limits_answer_429(runner: asyncio.Runner, target: SimulatedTarget) -> None:
    async def together(count: int) -> list[int]:
        answers = await asyncio.gather(*(target.send(request(str(number))) for number in range(count)))
        return sorted(answer.status for answer in answers)

    target.most_in_flight = 3
    assert runner.run(together(5)) == [200, 200, 200, 429, 429]
    assert target.peak == 5
    target.most_in_flight, target.most_a_second = None, 2
    runner.run(asyncio.sleep(10))
    assert runner.run(together(3)) == [200, 200, 429]


def test_the_most_calls_within_a_window(runner: asyncio.Runner, target: SimulatedTarget) -> None:
    target.latency = SECOND / 10
    runner.run(statuses(target, *map(str, range(25))))
    assert target.most_within(SECOND) == 10
    assert target.most_within(SECOND / 10) == 1


def test_failures_are_a_pure_function_of_seed_key_and_call() -> None:
    script = failing(0.1, seed=1)
    drawn = [script(str(number), 1) for number in range(2_000)]
    assert drawn == [script(str(number), 1) for number in range(2_000)]
    assert 150 < drawn.count(503) < 250
    shares = [[script(str(number), call) for number in range(500)] for call in (1, 2)]
    assert all(one != other for one, other in pairwise(shares))
