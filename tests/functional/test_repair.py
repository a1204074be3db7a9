"""Repair: what the queue has lost is noticed and sent again; what it has not is none the worse for a second message."""

from contextlib import suppress
from datetime import timedelta

import pytest

from rollcall import Outcome, Overlap
from rollcall.adapters.ledger import runs
from rollcall.adapters.queue import DispatchFailed
from rollcall.core.actions import Action
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunState, run_id
from rollcall.core.sizing import DEDUPLICATION_WINDOW, LONGEST_TIMEOUT
from rollcall.engine.fan_out.dispatch import SAFETY
from rollcall.engine.fan_out.repair import QUIET
from tests.functional.wire import Killed, Sent
from tests.functional.world import DAY, DUE, LEASE, NAME, RUN, World, a_job, entries, keys

TOMORROW = run_id(NAME, DUE + DAY)
ASKED = [(NAME, RUN)]
SECOND = timedelta(seconds=1)
#: More than a repair of a small run makes.
REQUESTS = 12


def purge(world: World) -> None:
    """An operator purges the job's queue."""
    world.clients.sqs.purge_queue(QueueUrl=world.queue_url)


def begun_and_lost(world: World, settled: int = 7) -> None:
    """A run of twelve entries of which some are settled, the others' messages lost, and its last send long ago."""
    world.begin(12)
    world.work(world.batch(*range(settled)))
    purge(world)
    world.later(QUIET)
    world.wire.reset()


def repaired(world: World) -> list[tuple[int, bool]]:
    """What was sent again, with its mark."""
    return [(message.index, marked) for message, marked in world.sent()]


# --- noticing ---


def test_lost_messages_are_noticed_once_a_second_send_would_not_be_dropped_and_not_before(world: World) -> None:
    world.begin(12)
    world.work(world.batch(*range(7)))
    purge(world)
    world.later(QUIET - SECOND)
    world.watchdog()
    assert world.functions.repaired == []
    world.later(SECOND)
    world.watchdog()
    assert world.functions.repaired == ASKED
    (event,) = world.events.of(Action.RUN_LACKS_MESSAGES)
    assert (event["run"], event["unsettled"], event["on_queue"]) == (RUN, 5, 0)
    assert QUIET > DEDUPLICATION_WINDOW


def test_one_lost_message_is_enough(world: World) -> None:
    world.begin(3)
    world.delete(world.receive()[:1])
    world.later(QUIET)
    world.watchdog()
    assert world.functions.repaired == ASKED


def test_a_run_whose_messages_are_all_there_is_left_to_its_workers(world: World) -> None:
    """Waiting, in flight, or put off."""
    world.begin(12)
    assert world.receive()
    world.later(QUIET)
    world.watchdog()
    assert world.functions.repaired == []


def test_what_was_never_sent_is_not_missed_on_the_queue(world: World) -> None:
    world.declare(a_job(window=5))
    world.report = entries(12)
    world.start()
    world.later(QUIET)
    world.watchdog()
    assert world.functions.repaired == []


def test_settled_entries_are_not_missed_on_the_queue_though_their_chunk_is_full(world: World) -> None:
    world.begin(12)
    records = world.receive()
    world.work(records)
    world.delete(records)
    world.later(QUIET)
    world.watchdog()
    assert world.functions.repaired == []


def test_the_queue_is_counted_before_the_ledger_is_read(world: World) -> None:
    """A worker settles and deletes in between: the other way round that looks like a loss."""
    world.begin(5)
    world.later(QUIET)

    def work_after_the_count(sent: Sent) -> None:
        if sent.operation == "GetQueueAttributes":
            world.wire.after = lambda _: work()

    def work() -> None:
        world.wire.heal()
        records = world.receive()[:3]
        world.work(records)
        world.delete(records)

    world.wire.before = work_after_the_count
    world.watchdog()
    assert world.outcomes() == {Outcome.SUCCEEDED: 3}
    assert world.functions.repaired == []


@pytest.mark.parametrize("ago", [timedelta(0), LEASE], ids=["live", "expired"])
def test_a_run_with_a_lease_is_not_repaired(world: World, ago: timedelta) -> None:
    """Live: it is being dispatched. Expired: it is taken over."""
    world.declare(a_job(window=5))
    world.report = entries(12)
    world.start()
    purge(world)
    world.later(QUIET)
    runs.take_over(world.ledger, world.run(), "another", world.clock.now() + SECOND, world.clock.now())
    world.later(ago)
    world.watchdog()
    assert world.functions.repaired == []
    assert world.repair() is None


def test_the_runs_of_a_job_are_counted_together(world: World) -> None:
    """Whose messages are lost, nobody can tell: those of both are sent again."""
    world.declare(a_job(overlap=Overlap.ALLOW))
    world.begin(3)
    purge(world)
    world.report = entries(4)
    world.start(DUE + DAY)
    world.later(QUIET)
    world.watchdog()
    assert sorted(world.functions.repaired) == [*ASKED, (NAME, TOMORROW)]


def test_what_another_run_just_sends_is_not_missed_yet(world: World) -> None:
    """Its window is open, and not all of it on the queue."""
    world.declare(a_job(overlap=Overlap.ALLOW))
    world.begin(3)
    world.later(QUIET)

    def die(sent: Sent) -> None:
        if sent.operation == "SendMessageBatch":
            raise Killed(str(sent))

    world.report = entries(12)
    world.wire.before = die
    with pytest.raises(Killed):
        world.start(DUE + DAY)
    world.wire.heal()
    assert world.run(TOMORROW).window_end == 12
    world.watchdog()
    assert world.functions.repaired == []


def test_a_queue_that_cannot_be_counted_keeps_the_watchdog_from_nothing_else(world: World) -> None:
    def before(sent: Sent) -> None:
        if sent.operation == "GetQueueUrl":
            raise RollcallError("no")

    world.declare(a_job(window=5))
    world.report = entries(12)
    world.start()
    world.drain()
    world.later(QUIET)
    world.wire.before = before
    with pytest.raises(ExceptionGroup, match="1 steps"):
        world.watchdog()
    assert world.functions.resumed == ASKED


# --- sending again ---


def test_a_repaired_run_comes_to_its_end(world: World) -> None:
    begun_and_lost(world)
    run = world.repair()
    assert run is not None
    assert repaired(world) == [(index, True) for index in range(7, 12)]
    (event,) = world.events.of(Action.RUN_REPAIRED)
    assert (event["run"], event["sent"], event["whole"]) == (RUN, 5, True)
    world.drain()
    assert world.run().state is RunState.COMPLETE
    assert world.outcomes() == {Outcome.SUCCEEDED: 12}
    assert world.target.times() == dict.fromkeys(keys(12), 1)


def test_a_window_full_of_lost_messages_blocks_its_run_no_longer(world: World) -> None:
    world.declare(a_job(window=5))
    world.report = entries(12)
    world.start()
    purge(world)
    world.later(QUIET)
    world.watchdog()
    assert (world.functions.repaired, world.functions.resumed) == (ASKED, [])
    world.wire.reset()
    world.repair()
    assert repaired(world) == [(index, True) for index in range(5)]
    world.drain()
    world.watchdog()
    assert world.functions.resumed == ASKED
    while world.run().state is RunState.DISPATCHING:
        world.resume()
        world.drain()
    assert world.outcomes() == {Outcome.SUCCEEDED: 12}


def test_a_false_alarm_costs_messages_and_no_calls(world: World) -> None:
    """Nothing was lost: each second message finds its entry settled."""
    world.begin(12)
    world.later(QUIET)
    world.repair()
    assert world.on_queue() == 24
    world.drain()
    assert world.target.times() == dict.fromkeys(keys(12), 1)
    assert world.outcomes() == {Outcome.SUCCEEDED: 12}


def test_attempts_that_were_used_up_before_the_loss_count(world: World) -> None:
    world.begin(1)
    world.target.script("D00", then=503)
    world.work(world.batch(0))
    world.work(world.batch(0, receives=2))
    purge(world)
    world.later(QUIET)
    world.repair()
    world.drain()
    assert world.target.times() == {"D00": 4}
    assert world.outcomes() == {Outcome.FAILED: 1}


def test_a_repair_after_a_repair_waits_as_long(world: World) -> None:
    begun_and_lost(world)
    world.repair()
    purge(world)
    world.later(QUIET - SECOND)
    assert world.repair() is None
    world.later(SECOND)
    world.watchdog()
    assert world.functions.repaired == ASKED
    assert world.repair() is not None


def test_what_is_unsettled_and_rejected_by_the_manifest_is_settled_so(world: World) -> None:
    """Whatever left it so: it is not sent."""
    begun_and_lost(world, settled=5)
    line = world.line(6)
    lines = world.manifests.read(world.run(), 1)
    lines[1] = type(line)(line.key, line.payload, rejected="too large")
    world.manifests.write(world.run(), world.run().sealed_nonce, 1, lines)
    world.wire.reset()
    world.repair()
    assert [index for index, _ in repaired(world)] == [5, *range(7, 12)]
    assert world.outcome(6) is Outcome.REJECTED


# --- time ---


def test_nothing_is_sent_in_the_invocations_last_seconds(world: World) -> None:
    begun_and_lost(world)
    before = world.ledger_dump()
    assert world.repair(lease=SAFETY) is None
    assert repaired(world) == []
    assert world.ledger_dump() == before


def test_what_there_was_no_time_for_is_sent_by_the_next_repair(world: World) -> None:
    begun_and_lost(world, settled=0)

    def slowly(sent: Sent) -> None:
        if sent.operation == "SendMessageBatch":
            world.later(timedelta(minutes=1))

    world.wire.before = slowly
    world.repair(lease=SAFETY + timedelta(minutes=2))
    assert len(repaired(world)) == 10
    assert [event["whole"] for event in world.events.of(Action.RUN_REPAIRED)] == [False]
    world.wire.reset()
    world.later(QUIET)
    world.watchdog()
    assert world.functions.repaired == ASKED
    world.repair()
    world.drain()
    assert world.outcomes() == {Outcome.SUCCEEDED: 12}


def test_a_queue_that_takes_nothing_fails_the_repair_and_the_next_one_is_soon(world: World) -> None:
    def refuse(sent: Sent) -> dict[str, object] | None:
        if sent.operation != "SendMessageBatch":
            return None
        failed = [{"Id": entry["Id"], "SenderFault": True, "Code": "Throttled"} for entry in sent.fields["Entries"]]
        return {"Failed": failed}

    begun_and_lost(world)
    world.wire.before = refuse
    with pytest.raises(DispatchFailed):
        world.repair()
    world.wire.reset()
    assert world.repair() is None
    world.later(QUIET)
    assert world.repair() is not None


# --- races and crashes ---


def test_of_two_repairs_at_once_one_sends(world: World) -> None:
    begun_and_lost(world)

    def the_other_comes_first(sent: Sent) -> None:
        if sent.operation == "UpdateItem":
            world.wire.heal()
            world.repair()

    world.wire.before = the_other_comes_first
    assert world.repair() is None
    assert [index for index, _ in repaired(world)] == [*range(7, 12)]


def test_a_repair_at_work_is_not_doubled_by_a_later_one(world: World) -> None:
    """It may go on for as long as its invocation; until then it is not known what it has sent."""
    begun_and_lost(world)
    others: list[object] = []

    def another_while_it_sends(sent: Sent) -> None:
        if sent.operation == "SendMessageBatch":
            world.wire.heal()
            world.later(QUIET)
            world.watchdog()
            others.extend([world.repair(), *world.functions.repaired])

    world.wire.before = another_while_it_sends
    assert world.repair() is not None
    assert others == [None]


def test_its_own_write_made_twice_is_its_own(world: World) -> None:
    begun_and_lost(world)
    with world.wire.twice("dynamodb"):
        assert world.repair() is not None
        world.drain()
    assert world.outcomes() == {Outcome.SUCCEEDED: 12}


def test_a_run_that_was_taken_over_in_between_is_not_repaired(world: World) -> None:
    world.declare(a_job(window=5))
    world.report = entries(12)
    world.start()
    world.later(QUIET)
    world.wire.reset()

    def a_dispatcher_comes_first(sent: Sent) -> None:
        if sent.operation == "UpdateItem":
            world.wire.heal()
            now = world.clock.now()
            runs.take_over(world.ledger, world.run(), "another", now + LEASE, now)

    world.wire.before = a_dispatcher_comes_first
    assert world.repair() is None
    assert repaired(world) == []


def test_a_dispatch_that_ends_during_a_repair_has_the_last_word_on_when_was_sent(world: World) -> None:
    world.declare(a_job(window=5))
    world.report = entries(12)
    world.start()
    world.work(world.batch(*range(4)))
    world.later(QUIET)

    def a_dispatcher_comes_and_goes(sent: Sent) -> None:
        if sent.operation == "SendMessageBatch":
            world.wire.heal()
            world.resume()
            world.later(SECOND)

    world.wire.before = a_dispatcher_comes_and_goes
    world.repair()
    assert world.run().sent_at == world.clock.now() - SECOND


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("number", range(1, REQUESTS + 1))
def test_a_repair_that_dies_anywhere_leaves_the_rest_to_another(world: World, number: int, lost: str) -> None:
    begun_and_lost(world)
    (world.wire.kill_before if lost == "request" else world.wire.kill_after)(number)
    with suppress(Killed):
        world.repair()
    world.wire.heal()
    purge(world)
    world.later(LEASE + QUIET)
    world.watchdog()
    assert world.functions.repaired == ASKED
    world.repair()
    world.drain()
    assert world.run().state is RunState.COMPLETE
    assert world.outcomes() == {Outcome.SUCCEEDED: 12}
    assert world.target.times() == dict.fromkeys(keys(12), 1)


def test_a_repair_makes_no_more_requests_than_these_stories_kill(world: World) -> None:
    begun_and_lost(world)
    world.repair()
    assert len(world.wire.sent) <= REQUESTS


def test_a_run_that_completes_during_its_repair_stays_complete(world: World) -> None:
    begun_and_lost(world)
    rest = world.batch(*range(7, 12), receives=2)

    def the_last_are_settled(sent: Sent) -> None:
        if sent.operation == "SendMessageBatch":
            world.wire.heal()
            world.work(rest)

    world.wire.before = the_last_are_settled
    world.repair()
    assert world.run().state is RunState.COMPLETE
    world.drain()
    assert world.outcomes() == {Outcome.SUCCEEDED: 12}
    assert world.target.times() == dict.fromkeys(keys(12), 1)


def test_a_generation_that_was_opened_in_between_is_not_repaired_for_the_one_before(world: World) -> None:
    world.begin(2)
    world.target.script("D00", 422)
    world.drain()
    world.announce()
    world.redrive()
    assert world.run().generation == 2
    assert world.repair() is None
    world.later(QUIET)
    world.wire.reset()
    assert world.repair() is not None
    assert [(message.generation, message.index) for message, _ in world.sent()] == [(2, 0)]


@pytest.mark.parametrize("state", ["complete", "refused"])
def test_a_run_that_has_ended_is_not_repaired(world: World, state: str) -> None:
    world.report = entries(3) if state == "complete" else [ValueError("boom")]
    world.start()
    world.drain()
    world.later(QUIET)
    before = world.ledger_dump()
    assert world.repair() is None
    assert world.ledger_dump() == before


def test_to_repair_a_run_that_nobody_started_is_an_error_that_names_it(world: World) -> None:
    with pytest.raises(RollcallError, match=f"there is no run {RUN}"):
        world.repair()


# --- cancelled runs ---


def test_a_cancelled_run_whose_messages_were_purged_comes_to_its_end(world: World) -> None:
    world.begin(12)
    world.work(world.batch(*range(7)))
    world.cancel()
    purge(world)
    world.later(LONGEST_TIMEOUT + QUIET - SECOND)
    world.watchdog()
    assert world.functions.repaired == []
    world.later(SECOND)
    world.watchdog()
    assert world.functions.repaired == ASKED
    world.repair()
    world.drain()
    assert world.run().state is RunState.CANCELLED
    assert world.outcomes() == {Outcome.SUCCEEDED: 7, Outcome.CANCELLED: 5}


def test_a_run_that_is_cancelled_during_its_repair_calls_nobody(world: World) -> None:
    begun_and_lost(world)

    def cancel(sent: Sent) -> None:
        if sent.operation == "SendMessageBatch":
            world.wire.heal()
            world.cancel()

    world.wire.before = cancel
    world.repair()
    world.drain()
    assert world.run().state is RunState.CANCELLED
    assert world.outcomes() == {Outcome.SUCCEEDED: 7, Outcome.CANCELLED: 5}
    assert world.target.times() == dict.fromkeys(keys(7), 1)


# --- dead letters ---


def test_the_dead_letter_of_a_held_entry_goes_once_its_entry_was_sent_again_and_settled(world: World) -> None:
    world.begin(2)
    world.work(world.batch(0, 1), time=SECOND)
    letters = world.batch(0, 1)
    purge(world)
    assert world.dead_letters(letters) == [letter["messageId"] for letter in letters]
    world.later(QUIET)
    world.watchdog()
    assert world.functions.repaired == ASKED
    world.repair()
    world.drain()
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}
    assert world.dead_letters(letters) == []
    assert world.target.times() == dict.fromkeys(keys(2), 1)
