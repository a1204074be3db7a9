"""Virtual time: timers in order, no waiting, and an end where nothing can happen any more."""

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.simulation.models.fibers import FiberExecutor, Process
from tests.simulation.models.virtual_time import START, NothingToWaitFor, VirtualClock, VirtualLoop

HOUR = timedelta(hours=1)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner


@pytest.fixture
def clock(runner: asyncio.Runner) -> VirtualClock:
    loop = runner.get_loop()
    assert isinstance(loop, VirtualLoop)
    return VirtualClock(loop)


def test_waiting_takes_no_time(runner: asyncio.Runner, clock: VirtualClock) -> None:
    began = time.monotonic()
    runner.run(clock.wait(1_000 * HOUR))
    assert clock.now() == START + 1_000 * HOUR
    assert time.monotonic() - began < 10


def test_timers_go_off_in_their_order(runner: asyncio.Runner, clock: VirtualClock) -> None:
    seen: list[tuple[str, timedelta]] = []

    async def wait(name: str, hours: int) -> None:
        await clock.wait(hours * HOUR)
        seen.append((name, clock.now() - START))

    async def story() -> None:
        await asyncio.gather(wait("late", 3), wait("early", 1), wait("between", 2))

    runner.run(story())
    assert seen == [("early", HOUR), ("between", 2 * HOUR), ("late", 3 * HOUR)]


def test_a_task_that_blocks_lets_others_go_on(runner: asyncio.Runner, clock: VirtualClock) -> None:
    async def story() -> None:
        other = asyncio.create_task(clock.wait(HOUR))
        clock.sleep(2 * HOUR)
        assert other.done()

    runner.run(story())
    assert clock.now() == START + 2 * HOUR


def test_a_task_that_blocks_keeps_up_its_own_process(runner: asyncio.Runner, clock: VirtualClock) -> None:
    """As an event loop does while boto3 waits for an answer."""
    seen: list[tuple[str, timedelta]] = []

    async def block() -> None:
        clock.sleep(2 * HOUR)
        seen.append(("blocked", clock.now() - START))

    async def wait() -> None:
        await clock.wait(HOUR)
        seen.append(("waited", clock.now() - START))

    async def process() -> None:
        await asyncio.gather(block(), wait())

    async def story() -> None:
        await asyncio.gather(Process().run(process), wait())

    runner.run(story())
    assert seen == [("waited", HOUR), ("blocked", 2 * HOUR), ("waited", 3 * HOUR)]


def test_a_task_that_blocks_can_be_cancelled(runner: asyncio.Runner, clock: VirtualClock) -> None:
    async def block() -> None:
        clock.sleep(10 * HOUR)

    async def story() -> None:
        task = asyncio.create_task(block())
        await clock.wait(HOUR)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    runner.run(story())
    assert clock.now() == START + HOUR


def test_a_pool_runs_side_by_side_and_is_waited_for(runner: asyncio.Runner, clock: VirtualClock) -> None:
    def work(hours: int) -> int:
        clock.sleep(hours * HOUR)
        return hours

    async def story() -> None:
        with FiberExecutor(2) as pool:
            assert list(pool.map(work, [3, 1, 1])) == [3, 1, 1]

    runner.run(story())
    assert clock.now() == START + 3 * HOUR


def test_a_limit_in_virtual_time(runner: asyncio.Runner, clock: VirtualClock) -> None:
    async def story() -> None:
        async with asyncio.timeout(HOUR.total_seconds()):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        runner.run(story())
    assert clock.now() == START + HOUR


def test_waiting_for_what_never_comes_is_told() -> None:
    async def story() -> None:
        await asyncio.Event().wait()

    loop = VirtualLoop()
    task = loop.create_task(story())
    with pytest.raises(NothingToWaitFor):
        loop.run_until_complete(task)
    loop.call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
