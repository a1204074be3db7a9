"""Cancelling: nobody is called any more, every entry gets its outcome, and then the run has ended. Pausing: later."""

from datetime import timedelta
from functools import partial

import pytest

from rollcall import Breaker, Entry, Outcome, Overlap, Unanswered
from rollcall.adapters.ledger import chunk_updates, runs
from rollcall.core.actions import Action
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunState, run_id
from rollcall.core.tree import Node
from rollcall.engine.runs.cancellation import cancel_unsent
from tests.functional.wire import Killed, Sent
from tests.functional.world import DAY, DUE, LEASE, NAME, RUN, World, a_job, entries

TOMORROW = run_id(NAME, DUE + DAY)
SECOND = timedelta(seconds=1)
QUARTER = timedelta(minutes=15)


def ends(world: World) -> list[tuple[str, str, dict[str, int]]]:
    """What was announced: id, state, and the outcomes that occur."""
    return [
        (event["id"], event["state"], {name: count for name, count in event["outcomes"].items() if count})
        for event in world.announcements()
    ]


def once(world: World, operation: str, key: str, deed: object) -> None:
    """Do `deed` before the first request of this kind."""
    done = False

    def before(sent: Sent) -> None:
        nonlocal done
        if not done and sent.operation == operation and key in (sent.key or str(sent.fields)):
            done = True
            assert callable(deed)
            deed()

    world.wire.before = before


# --- while enumerating ---


def test_a_run_that_is_cancelled_while_it_is_enumerated_calls_nobody(world: World) -> None:
    """Its fan-out goes on as a zombie: its seal loses."""
    once(world, "PutObject", "", world.cancel)
    run = world.start()
    assert run is not None
    assert (run.state, run.fence) == (RunState.CANCELLED, 2)
    assert world.sent() == []
    world.announce()
    assert ends(world) == [(f"{RUN}/1", "cancelled", {})]
    assert world.start() is None
    assert world.run().state is RunState.CANCELLED


def test_a_run_that_is_sealed_between_look_and_cancel_is_cancelled_all_the_same(world: World) -> None:
    world.wire.before = lambda sent: die(sent, "PutObject")
    with pytest.raises(Killed):
        world.start()
    world.wire.reset()
    world.later(LEASE)
    once(world, "UpdateItem", f"run#{RUN}", world.start)
    assert world.cancel().state is RunState.CANCELLING
    world.drain()
    assert world.target.calls == []
    assert world.run().state is RunState.CANCELLED


def die(sent: Sent, operation: str) -> None:
    if sent.operation == operation:
        raise Killed(str(sent))


# --- while dispatching ---


def test_a_run_that_is_cancelled_while_it_is_dispatched_sends_no_more_than_its_window(world: World) -> None:
    world.declare(a_job(window=10))
    world.report = entries(30)
    once(world, "SendMessageBatch", "", world.cancel)
    run = world.start()
    assert run is not None
    assert run.state is RunState.CANCELLING
    assert {message.index for message, _ in world.sent()} <= set(range(10))
    world.watchdog()
    assert world.outcomes() == {Outcome.CANCELLED: 20}
    world.drain()
    assert world.target.calls == []
    assert world.run().state is RunState.CANCELLED
    assert world.functions.resumed == []


def test_what_may_be_on_the_queue_is_left_to_workers_for_a_quarter_of_an_hour(world: World) -> None:
    """Of [checkpoint, window's end) nobody knows what was sent; a first receive leaves no trace while it is called."""
    world.declare(a_job(window=10))
    world.report = entries(30)
    world.wire.before = lambda sent: die(sent, "SendMessageBatch")
    with pytest.raises(Killed):
        world.start()
    world.wire.reset()
    assert (world.run().checkpoint, world.run().window_end) == (0, 10)
    world.cancel()
    world.later(QUARTER - SECOND)
    world.watchdog()
    assert world.outcomes() == {Outcome.CANCELLED: 20}
    assert world.run().state is RunState.CANCELLING
    world.later(SECOND)
    world.watchdog()
    assert world.run().state is RunState.CANCELLED
    assert world.outcomes() == {Outcome.CANCELLED: 30}


def test_an_entry_that_is_settled_before_the_watchdogs_write_keeps_its_outcome(world: World) -> None:
    world.report = entries(5)
    world.wire.before = lambda sent: die(sent, "SendMessageBatch")
    with pytest.raises(Killed):
        world.start()
    world.wire.reset()
    world.cancel()
    world.later(QUARTER)
    run, done = world.run(), chunk_updates.Batch({0: Outcome.SUCCEEDED})
    settled_first = partial(chunk_updates.settle, world.ledger, run, Node(0, 0), done, world.clock.now())
    once(world, "UpdateItem", f"node#{RUN}#1#0#0", settled_first)
    world.watchdog()
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}
    world.watchdog()
    assert world.outcomes() == {Outcome.SUCCEEDED: 1, Outcome.CANCELLED: 4}
    assert world.run().state is RunState.CANCELLED


def test_an_entry_that_was_in_its_call_keeps_its_answer(world: World) -> None:
    world.declare(a_job(window=10))
    world.report = entries(30)
    world.start()
    batch = world.batch(0, 1)

    def cancelled_and_looked_after() -> None:
        world.cancel()
        world.watchdog()

    once(world, "UpdateItem", f"node#{RUN}#1#0#0", cancelled_and_looked_after)
    assert world.work(batch) == []
    assert world.outcomes() == {Outcome.SUCCEEDED: 2, Outcome.CANCELLED: 20}


def test_entries_that_are_invalid_are_rejected_or_cancelled_whoever_comes_first(world: World) -> None:
    world.report = [*entries(4), Entry(None, {})]
    once(world, "UpdateItem", f"node#{RUN}", world.cancel)
    world.start()
    world.drain()
    world.watchdog()
    assert world.run().state is RunState.CANCELLED
    assert sum(world.outcomes().values()) == 5


# --- while running ---


def test_nobody_is_called_once_a_worker_may_know(world: World) -> None:
    world.begin(12)
    worker = world.worker()
    first, second, third = world.batch(0), world.batch(1), world.batch(2)
    world.work(first, worker=worker)
    assert world.cancel().state is RunState.CANCELLING
    world.later(5 * SECOND)
    assert world.work(second, worker=worker) == []
    assert world.target.keys == ["D00", "D01"], "it believes what it read five seconds ago"
    world.later(SECOND)
    assert world.work(third, worker=worker) == []
    assert world.target.keys == ["D00", "D01"]
    assert world.outcome(2) is Outcome.CANCELLED
    assert world.entry("D02")["g1_cancelled"]["reason"] == "its run was cancelled"


def test_the_run_is_cancelled_only_when_every_entry_is_settled_and_says_so_once(world: World) -> None:
    world.begin(12)
    world.work(world.batch(0, 1))
    world.cancel()
    world.work(world.batch(*range(2, 11)))
    world.watchdog()
    assert world.run().state is RunState.CANCELLING
    assert world.announcements() == []
    world.work(world.batch(11))
    assert world.run().state is RunState.CANCELLED
    world.watchdog()
    world.watchdog()
    world.announce()
    assert ends(world) == [(f"{RUN}/1", "cancelled", {"succeeded": 2, "cancelled": 10})]
    assert world.announcements()[0]["clean"] is False
    assert world.job_record().open == frozenset()


def test_a_cancelled_run_frees_its_job(world: World) -> None:
    world.begin(3)
    world.cancel()
    world.start(DUE + DAY)
    assert world.run(TOMORROW).state is RunState.SKIPPED, "it may still settle"
    world.drain()
    run = world.start(DUE + 2 * DAY)
    assert run is not None
    assert run.state is RunState.RUNNING


def test_cancelling_twice_and_after_the_end_changes_nothing(world: World) -> None:
    world.begin(3)
    world.cancel()
    before = world.ledger_dump()
    assert world.cancel().state is RunState.CANCELLING
    assert world.ledger_dump() == before
    world.drain()
    before = world.ledger_dump()
    assert world.cancel().state is RunState.CANCELLED
    assert world.ledger_dump() == before
    assert world.events.count(Action.RUN_CANCELLING) == 1


def test_a_run_that_there_is_not_cannot_be_cancelled(world: World) -> None:
    with pytest.raises(RollcallError, match=f"there is no run {RUN}"):
        world.cancel()


def test_a_run_that_is_taken_over_and_released_between_look_and_write_is_cancelled_all_the_same(world: World) -> None:
    """It looks as our own write would: the next fence, and no owner."""
    world.declare(a_job(window=10))
    world.report = entries(30)
    world.start()
    world.drain()
    once(world, "UpdateItem", f"run#{RUN}", world.resume)
    assert world.cancel().state is RunState.CANCELLING
    assert world.run().state is RunState.CANCELLING


def test_a_root_that_was_full_before_the_cancel_makes_the_run_cancelled(world: World) -> None:
    world.begin(5)
    batch = world.batch(*range(5))
    once(world, "UpdateItem", f"run#{RUN}", world.cancel)
    world.work(batch)
    assert world.run().state is RunState.CANCELLED
    assert world.outcomes() == {Outcome.SUCCEEDED: 5}


def test_a_watchdog_that_died_in_the_climb_from_what_was_never_sent_is_followed_by_another(world: World) -> None:
    world.declare(a_job(window=5))
    world.report = entries(15)
    world.start()
    world.cancel()
    world.wire.before = lambda sent: die_at(sent, f"node#{RUN}#1#1#0")
    with pytest.raises(Killed):
        world.watchdog()
    world.wire.heal()
    world.watchdog()
    world.drain()
    assert world.run().state is RunState.CANCELLED


def die_at(sent: Sent, key: str) -> None:
    if sent.operation == "UpdateItem" and sent.key == key:
        raise Killed(str(sent))


# --- held entries ---


def held(world: World, number: int = 3) -> None:
    """A run whose entries are all held, for their job is paused."""
    world.begin(number)
    runs.pause(world.ledger, NAME, world.clock.now())
    world.work(world.batch(*range(number)))
    assert world.chunk().held == frozenset(range(number))
    runs.resume(world.ledger, NAME)


def test_held_entries_are_cancelled_at_once(world: World) -> None:
    held(world)
    world.cancel()
    world.watchdog()
    assert world.run().state is RunState.CANCELLED
    assert world.outcomes() == {Outcome.CANCELLED: 3}
    failure = world.failures()["D00"]
    assert (failure.unanswered_since, failure.called_since, failure.definite) == (None, None, True)


def test_an_entry_that_a_worker_begins_before_the_watchdogs_write_is_left_to_the_worker(world: World) -> None:
    held(world, 1)
    run, node = world.run(), Node(0, 0)
    world.cancel()
    once(world, "UpdateItem", f"node#{RUN}#1#0#0", lambda: chunk_updates.begin(world.ledger, run, node, [0]))
    world.watchdog()
    assert world.outcomes() == {}
    assert world.run().state is RunState.CANCELLING
    chunk_updates.settle(
        world.ledger, run, node, chunk_updates.Batch({0: Outcome.SUCCEEDED}, ended=[0]), world.clock.now()
    )
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}
    assert world.run().state is RunState.CANCELLED


def test_an_entry_that_a_worker_has_begun_is_not_held_any_more(world: World) -> None:
    held(world, 1)
    run = world.run()
    chunk_updates.begin(world.ledger, run, Node(0, 0), [0])
    world.cancel()
    world.watchdog()
    assert world.outcomes() == {}


def test_the_watchdogs_time_for_one_run_is_limited(world: World) -> None:
    world.declare(a_job(window=5))
    world.report = entries(1_010)
    world.start()
    world.cancel()

    def slow(sent: Sent) -> None:
        if sent.operation == "UpdateItem":
            world.later(SECOND)

    world.wire.before = slow
    cancel_unsent(world.ledger, world.run(), world.clock)
    settled = world.outcomes()[Outcome.CANCELLED]
    assert 50 <= settled <= 150
    cancel_unsent(world.ledger, world.run(), world.clock)
    assert world.outcomes()[Outcome.CANCELLED] > settled


# --- what was called before ---


@pytest.mark.parametrize(("answer", "definite"), [(429, True), (503, False), (Unanswered("cut off"), False)], ids=str)
def test_a_cancelled_entry_remembers_its_calls_for_a_redrive(
    world: World, answer: int | BaseException, definite: bool
) -> None:
    world.begin(3)
    world.target.script("D00", answer)
    batch = world.batch(0)
    assert world.work(batch) == [batch[0]["messageId"]]
    world.cancel()
    world.work(world.batch(0, receives=2))
    failure = world.failures()["D00"]
    assert (failure.outcome, failure.attempts, failure.definite) == (Outcome.CANCELLED, 1, definite)
    assert failure.unanswered_since == (DUE if isinstance(answer, Unanswered) else None)
    assert failure.called_since == DUE
    assert world.chunk().begun == frozenset()


def test_a_cancelled_entry_of_a_worker_that_died_may_have_been_called(world: World) -> None:
    world.begin(3)
    world.cancel()
    world.work(world.batch(0, receives=2))
    failure = world.failures()["D00"]
    assert (failure.outcome, failure.unanswered_since) == (Outcome.CANCELLED, DUE)


def test_what_the_watchdog_settles_in_doubt_may_have_been_called(world: World) -> None:
    world.declare(a_job(window=5))
    world.report = entries(10)
    world.wire.before = lambda sent: die(sent, "SendMessageBatch")
    with pytest.raises(Killed):
        world.start()
    world.wire.reset()
    world.cancel()
    world.later(QUARTER)
    world.watchdog()
    found = world.failures()
    assert (found["D00"].unanswered_since, found["D00"].definite) == (DUE, False)
    assert (found["D09"].unanswered_since, found["D09"].definite) == (None, True)
    world.announce()
    world.declare(a_job())
    world.redrive()
    first, second = world.run().generations
    assert (first.generation, second.sent) == (2, 5)
    world.drain()
    assert world.outcomes() == {Outcome.SUCCEEDED: 10}


def test_a_cancelled_run_can_be_redriven(world: World) -> None:
    world.begin(6)
    world.work(world.batch(0, 1))
    world.cancel()
    world.drain()
    world.announce()
    world.target.calls.clear()
    world.redrive(outcomes=["cancelled"])
    world.drain()
    assert sorted(world.target.keys) == ["D02", "D03", "D04", "D05"]
    assert world.run().state is RunState.COMPLETE


def test_a_redrive_is_cancelled_like_a_first_generation(world: World) -> None:
    world.declare(a_job(breaker=Breaker(failures=1_000)))
    world.target.script("D01", 404)
    world.begin(3)
    world.drain()
    world.announce()
    once(world, "PutObject", "", world.cancel)
    run = world.redrive()
    assert run is not None
    assert (run.state, run.generation) == (RunState.CANCELLED, 2)
    world.announce()
    assert [end[:2] for end in ends(world)] == [(f"{RUN}/1", "complete"), (f"{RUN}/2", "cancelled")]
    assert world.failures().keys() == {"D01"}
    world.wire.heal()
    world.redrive()
    world.drain()
    assert (world.run().generation, world.outcomes()) == (3, {Outcome.SUCCEEDED: 1})


# --- a queued run ---


def queued(world: World) -> None:
    world.declare(a_job(overlap=Overlap.QUEUE))
    world.begin(3)
    world.start(DUE + DAY)


def test_a_queued_run_is_cancelled_and_its_place_is_free(world: World) -> None:
    queued(world)
    assert world.cancel(TOMORROW).state is RunState.CANCELLED
    record = world.job_record()
    assert (record.current, record.queued, record.open) == (RUN, None, frozenset({RUN, TOMORROW}))
    world.watchdog()
    assert ends(world) == [(f"{TOMORROW}/1", "cancelled", {})]
    world.watchdog()
    assert world.job_record().open == {RUN}
    assert world.start(DUE + DAY) is None, "its occurrence is over"
    world.start(DUE + 2 * DAY)
    assert world.job_record().queued == run_id(NAME, DUE + 2 * DAY)


def test_a_queued_run_that_is_started_between_look_and_cancel_is_cancelled_as_started(world: World) -> None:
    queued(world)
    world.drain()
    once(world, "TransactWriteItems", "", lambda: world.resume(TOMORROW))
    assert world.cancel(TOMORROW).state is RunState.CANCELLING
    world.drain()
    assert world.run(TOMORROW).state is RunState.CANCELLED
    assert len(world.target.calls) == 3


def test_a_queued_run_that_is_cancelled_between_look_and_start_is_not_started(world: World) -> None:
    queued(world)
    world.drain()
    once(world, "TransactWriteItems", "", lambda: world.cancel(TOMORROW))
    assert world.resume(TOMORROW) is None
    assert world.run(TOMORROW).state is RunState.CANCELLED
    assert world.job_record().current == RUN


# --- pausing ---


def test_a_paused_jobs_entries_are_held_without_attempts_and_go_on_when_it_is_resumed(world: World) -> None:
    world.begin(3)
    runs.pause(world.ledger, NAME, world.clock.now())
    batch = world.batch(0, 1, 2)
    worker = world.worker()
    assert world.work(batch, worker=worker) == [record["messageId"] for record in batch]
    assert world.target.calls == []
    assert all(30 <= wait <= 60 for wait in world.waits().values())
    world.later(timedelta(hours=3))
    assert len(world.work(world.batch(0, 1, 2, receives=180), worker=worker)) == 3
    assert (world.chunk().held, world.chunk().attempts) == (frozenset({0, 1, 2}), {})
    runs.resume(world.ledger, NAME)
    world.later(6 * SECOND)
    assert world.work(world.batch(0, 1, 2, receives=181), worker=worker) == []
    assert world.run().state is RunState.COMPLETE
    assert set(world.target.times().values()) == {1}
    assert world.entry("D00") == {}


def test_a_pause_and_its_end_change_nothing_else_of_the_job(world: World) -> None:
    world.begin(3)
    before = world.job_record()
    runs.pause(world.ledger, NAME, world.clock.now())
    assert world.job_record().paused_since is not None
    runs.resume(world.ledger, NAME)
    assert world.job_record() == before


def test_a_paused_run_can_be_cancelled(world: World) -> None:
    world.begin(3)
    runs.pause(world.ledger, NAME, world.clock.now())
    world.work(world.batch(0, 1, 2))
    world.cancel()
    world.watchdog()
    assert world.run().state is RunState.CANCELLED
