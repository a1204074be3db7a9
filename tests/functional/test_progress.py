"""Progress: how much is settled, and what waits, for which of the job's limits and until when."""

from datetime import timedelta
from typing import Any

from rollcall import Breaker, Call, Outcome, Rate, TryAgain, Unanswered
from rollcall.adapters.ledger import chunk_updates, runs, targets
from rollcall.core.rate import microseconds
from rollcall.core.run import RunState
from rollcall.core.tree import Node
from rollcall.engine.runs.progress import Held, Progress, progress, unsettled
from tests.functional.world import DUE, NAME, RUN, World, a_job, entries

SECOND = timedelta(seconds=1)


def seen(world: World) -> Progress:
    return progress(world.ledger, world.run(), world.job.target.name)


def test_a_run_on_its_way_tells_what_is_settled_and_holds_nothing(world: World) -> None:
    world.begin(26)
    assert seen(world) == Progress(0)
    world.work(world.batch(*range(7)))
    assert seen(world) == Progress(7)
    world.drain()
    assert seen(world) == Progress(26)


def test_an_entry_between_two_attempts_is_not_held(world: World) -> None:
    world.begin(3)
    world.target.script("D01", 503)
    world.work(world.batch(0, 1, 2))
    assert seen(world) == Progress(2)


def test_entries_of_a_paused_job_are_held_without_an_end(world: World) -> None:
    world.begin(12)
    world.work(world.batch(0, 1))
    runs.pause(world.ledger, NAME, world.clock.now())
    world.work(world.batch(*range(2, 12)))
    assert seen(world) == Progress(2, (Held(10, f"the job {NAME} is paused"),))


def test_entries_beyond_the_rate_are_held_until_about_when_the_last_of_them_comes(world: World) -> None:
    world.declare(a_job(rate=Rate.per_hour(60)))
    world.begin(8)
    stays = world.work(world.batch(*range(8)), time=timedelta(seconds=30))
    found = seen(world)
    assert len(stays) == 8 - found.settled > 0
    (held,) = found.held
    assert (held.entries, held.reason) == (len(stays), "the rate of accounting")
    assert held.until is not None
    last = DUE + timedelta(minutes=len(stays))
    assert last <= held.until <= last + timedelta(minutes=2)


def test_entries_behind_an_open_breaker_are_held_until_it_is_tried(world: World) -> None:
    world.declare(a_job(breaker=Breaker(failures=3, pause=timedelta(minutes=1))))
    world.begin(10)
    for entry in entries(10):
        world.target.script(str(entry.key), then=503)
    worker = world.worker()
    world.work(world.batch(0, 1, 2), worker=worker)
    world.work(world.batch(*range(3, 10)), worker=worker)
    until = world.ledger.target("accounting").open_until
    assert until == DUE + timedelta(minutes=1)
    held = Held(7, "accounting is left alone after failures in a row: HTTP 503: says 503", until)
    assert seen(world) == Progress(0, (held,))


def test_a_pause_is_named_before_the_breaker_and_the_breaker_before_the_rate(world: World) -> None:
    world.declare(a_job(rate=Rate.per_hour(60), breaker=Breaker(failures=3)))
    world.begin(3)
    run, node = world.run(), Node(0, 0)
    chunk_updates.settle(world.ledger, run, node, chunk_updates.Batch(held=[0, 1]), world.clock.now())
    targets.hold_until(world.ledger, world.ledger.target("accounting"), microseconds(DUE))
    assert seen(world).held[0] == Held(2, "the rate of accounting", DUE)
    for key in ("D00", "D01", "D02"):
        world.target.script(key, then=503)
    world.declare(a_job(breaker=Breaker(failures=3)))
    world.work(world.batch(0, 1, 2, receives=2))
    chunk_updates.settle(world.ledger, run, node, chunk_updates.Batch(held=[0, 1]), world.clock.now())
    assert seen(world).held[0].reason.startswith("accounting is left alone")
    runs.pause(world.ledger, NAME, world.clock.now())
    assert seen(world).held[0].reason == f"the job {NAME} is paused"


def test_entries_that_are_to_be_asked_about_are_told_apart(world: World) -> None:
    async def probe(deposit: dict[str, Any], call: Call) -> Outcome:
        del deposit, call
        raise TryAgain("not yet")

    world.declare(a_job(keys=None)).probe(probe)
    world.begin(3)
    world.target.script("D01", Unanswered("cut off"))
    world.work(world.batch(0, 1, 2))
    reason = "accounting never answered their calls, and is to be asked about them"
    assert seen(world) == Progress(2, (Held(1, reason),))
    world.work(world.batch(1, receives=2))
    assert seen(world) == Progress(2, (Held(1, reason),))


def test_an_entry_that_is_settled_or_begun_is_held_no_more(world: World) -> None:
    world.begin(3)
    run, node = world.run(), Node(0, 0)
    chunk_updates.settle(world.ledger, run, node, chunk_updates.Batch(held=[0, 1, 2]), world.clock.now())
    chunk_updates.begin(world.ledger, run, node, [0])
    chunk_updates.cancel(world.ledger, run, node, [1], world.clock.now())
    assert seen(world) == Progress(1, (Held(1, "accounting was left alone, and they come back in turn"),))


def test_what_was_cancelled_before_it_was_sent_is_settled(world: World) -> None:
    world.declare(a_job(window=10))
    world.report = entries(30)
    world.start()
    world.cancel()
    world.watchdog()
    assert (world.run().state, seen(world).settled) == (RunState.CANCELLING, 20)
    assert unsettled(world.ledger, world.run()) == 10, "they are on the queue"
    world.work(world.batch(*range(7)))
    assert unsettled(world.ledger, world.run()) == 3


def test_progress_is_that_of_the_latest_generation(world: World) -> None:
    world.declare(a_job())
    world.target.script("D01", 404)
    world.begin(3, scheduled_for=DUE)
    world.drain()
    world.announce()
    world.redrive()
    assert seen(world) == Progress(0)
    world.drain()
    assert seen(world) == Progress(1)
    assert world.run(RUN).total == 1
