"""Dispatch: every entry is on the queue once, within the job's window, and doubts are marked."""

import itertools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, get_ident
from typing import Any

import pytest

from rollcall import Entry, Outcome, Overlap
from rollcall.adapters.ledger import runs
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.queue import MOST_BYTES, MOST_TRIES, DispatchFailed
from rollcall.core.actions import Action
from rollcall.core.message import Message
from rollcall.core.run import RunRecord, RunState, run_id
from tests.functional.wire import Killed, Sent
from tests.functional.world import DAY, DUE, LEASE, NAME, RUN, World, a_job, entries, keys

TOMORROW = run_id(NAME, DUE + DAY)
SAFETY = timedelta(seconds=30)

Answer = Callable[[list[dict[str, Any]]], dict[str, Any]]


def accepted(batch: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Successful": [{"Id": entry["Id"], "MessageId": "m"} for entry in batch]}


def failing(code: str, *indexes: int) -> Answer:
    """SQS takes all of a batch but the entries of these indexes."""

    def answer(batch: list[dict[str, Any]]) -> dict[str, Any]:
        bad = [entry for entry in batch if Message.parse(entry["MessageBody"]).index in indexes]
        failed = [{"Id": entry["Id"], "SenderFault": True, "Code": code, "Message": f"{code}!"} for entry in bad]
        return accepted([entry for entry in batch if entry not in bad]) | {"Failed": failed}

    return answer


def queue_answers(world: World, *answers: Answer) -> None:
    """SQS answers sends with these, in order, the last one for ever."""
    script = itertools.chain(answers[:-1], itertools.repeat(answers[-1]))

    def before(sent: Sent) -> dict[str, Any] | None:
        return next(script)(sent.fields["Entries"]) if sent.operation == "SendMessageBatch" else None

    world.wire.before = before


def send(world: World, *report: Entry) -> None:
    world.report = report
    world.start()


# --- messages ---


def test_a_message_says_all_that_the_worker_needs_in_ascii_and_in_its_entrys_own_group(world: World) -> None:
    send(world, *entries(6), Entry("Zoë", {"client": "Zoë"}, "transfer-7"))
    sent = [entry for request in world.wire.of("SendMessageBatch") for entry in request.fields["Entries"]]
    assert all(entry["MessageBody"].isascii() and len(entry["MessageGroupId"]) == 64 for entry in sent)
    assert len({entry["MessageGroupId"] for entry in sent}) == 7
    message, marked = world.sent()[-1]
    assert message == Message(RUN, 1, 1, 6, 7, "Zoë", {"client": "Zoë"}, "transfer-7")
    assert not marked


def test_an_entity_has_the_same_group_in_every_run_of_its_job(world: World) -> None:
    world.declare(a_job(overlap=Overlap.ALLOW))
    world.begin(1)
    world.begin(1, scheduled_for=DUE + DAY)
    first, second = (entry for request in world.wire.of("SendMessageBatch") for entry in request.fields["Entries"])
    assert first["MessageGroupId"] == second["MessageGroupId"]
    assert first["MessageBody"] != second["MessageBody"]


def test_large_payloads_are_cut_into_batches_by_bytes(world: World) -> None:
    world.chunk_size = 20
    send(world, *(Entry(key, {"note": "x" * 127_000}) for key in keys(20)))
    sizes = [
        [len(entry["MessageBody"]) for entry in request.fields["Entries"]]
        for request in world.wire.of("SendMessageBatch")
    ]
    assert sorted(map(len, sizes)) == [4, 8, 8]
    assert max(map(sum, sizes)) <= MOST_BYTES
    assert world.on_queue() == 20


# --- what the queue does not take ---


def test_a_throttled_entry_comes_as_a_sender_fault_and_is_sent_again_alone(world: World) -> None:
    queue_answers(world, failing("ThrottlingException", 1, 3), accepted)
    send(world, *entries(5))
    assert [message.index for message, _ in world.sent()] == [0, 1, 2, 3, 4, 1, 3]
    assert world.run().state is RunState.RUNNING
    assert world.outcomes() == {}


def test_an_entry_without_a_result_is_sent_again(world: World) -> None:
    queue_answers(world, lambda batch: accepted(batch[:-1]), accepted)
    send(world, *entries(5))
    assert [message.index for message, _ in world.sent()] == [0, 1, 2, 3, 4, 4]


@pytest.mark.parametrize("code", ["InvalidMessageContents", "MessageTooLong"])
def test_only_what_no_queue_would_take_is_rejected(world: World, code: str) -> None:
    queue_answers(world, failing(code, 2))
    send(world, *entries(5))
    assert world.outcomes() == {Outcome.REJECTED: 1}
    assert world.outcome(2) is Outcome.REJECTED
    assert world.entry("D02", 2)["g1_rejected"]["reason"] == f"{code}!"
    assert len(world.sent()) == 5
    assert world.run().state is RunState.RUNNING


def test_a_queue_that_never_takes_an_entry_fails_the_dispatch_loudly_and_leaves_it_to_another(world: World) -> None:
    queue_answers(world, failing("InternalError", 2))
    with pytest.raises(DispatchFailed, match="did not take 1 of 5 messages: InternalError"):
        send(world, *entries(5))
    assert len(world.sent()) == 5 + MOST_TRIES - 1
    assert world.run().state is RunState.DISPATCHING
    assert not world.run().leased(world.clock.now())
    world.wire.heal()
    run = world.resume()
    assert run is not None
    assert run.state is RunState.RUNNING


def test_a_dispatch_that_failed_is_in_doubt_and_what_it_sent_is_marked_when_sent_again(world: World) -> None:
    queue_answers(world, failing("InternalError", 2))
    with pytest.raises(DispatchFailed):
        send(world, *entries(5))
    world.wire.reset()
    world.resume()
    assert [marked for _, marked in world.sent()] == [True] * 5


# --- the window ---


def test_a_full_window_stops_the_dispatch_and_releases_the_lease(world: World) -> None:
    world.declare(a_job(window=20))
    send(world, *entries(48))
    run = world.run()
    assert len(world.sent()) == 20
    assert (run.state, run.checkpoint, run.window_end) == (RunState.DISPATCHING, 20, 20)
    assert (run.lease_until, run.owner) == (None, None)
    assert world.events.count(Action.RUN_WINDOW_FULL) == 1
    assert world.events.count(Action.RUN_DISPATCHED) == 0


def test_a_top_up_sends_as_many_as_were_settled_and_marks_none(world: World) -> None:
    world.declare(a_job(window=20))
    send(world, *entries(48))
    world.drain()
    world.wire.reset()
    world.resume()
    assert [message.index for message, _ in world.sent()] == list(range(20, 40))
    assert not any(marked for _, marked in world.sent())


def test_a_top_up_while_the_window_is_still_full_sends_nothing(world: World) -> None:
    world.declare(a_job(window=20))
    send(world, *entries(48))
    world.resume()
    assert len(world.sent()) == 20
    assert world.run().lease_until is None


def test_top_ups_bring_a_run_to_its_end(world: World) -> None:
    world.declare(a_job(window=20))
    send(world, *entries(48))
    for _ in range(3):
        world.drain()
        world.resume()
    assert world.run().state is RunState.COMPLETE
    assert world.target.times() == dict.fromkeys(keys(48), 1)


def test_two_runs_of_a_job_share_its_window(world: World) -> None:
    world.declare(a_job(window=20, overlap=Overlap.ALLOW))
    world.begin(15)
    world.report = entries(15)
    world.start(DUE + DAY)
    assert world.run(TOMORROW).checkpoint == 5
    world.drain()
    world.resume(TOMORROW)
    assert world.run(TOMORROW).checkpoint == 15


def never_more_than(world: World, window: int, act: Callable[[Sent], None]) -> None:
    """Do `act` before each request, and see before each that sends what would then be sent and not settled."""

    def before(sent: Sent) -> None:
        act(sent)
        if sent.operation == "SendMessageBatch":
            assert world.on_queue() + len(sent.fields["Entries"]) <= window

    world.wire.before = before


def to_their_ends(world: World, *names: str) -> None:
    for _ in range(10):
        world.drain()
        for name in names:
            if not world.run(name).state.terminal:
                world.resume(name)
    assert [world.run(name).state for name in names] == [RunState.COMPLETE] * len(names)


@pytest.mark.parametrize("settled", [False, True], ids=["nothing settled", "what was sent is settled"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_two_dispatchers_at_work_at_the_same_time_share_the_window(world: World, number: int, settled: bool) -> None:
    """The second one starts as the first is about to send its `number`-th batch."""

    def second(sent: Sent) -> None:
        if sent.operation == "SendMessageBatch" and not started and len(world.wire.of("SendMessageBatch")) == number:
            started.append(TOMORROW)
            if settled:
                world.drain()
            world.start(DUE + DAY)

    started: list[str] = []
    world.declare(a_job(window=20, overlap=Overlap.ALLOW))
    world.report = entries(48)
    never_more_than(world, 20, second)
    world.start()
    assert started == [TOMORROW]
    to_their_ends(world, RUN, TOMORROW)
    assert world.target.times() == dict.fromkeys(keys(48), 2)


def opens_window(sent: Sent) -> bool:
    names = sent.fields.get("ExpressionAttributeNames", {}).values()
    return sent.operation == "UpdateItem" and "window_end" in names and not {"nonce", "checkpoint"} & set(names)


def test_who_dispatches_between_anothers_look_and_its_opening_is_seen_all_the_same(world: World) -> None:
    def second(sent: Sent) -> None:
        if opens_window(sent) and not started:
            started.append(TOMORROW)
            world.start(DUE + DAY)

    started: list[str] = []
    world.declare(a_job(window=20, overlap=Overlap.ALLOW))
    world.report = entries(48)
    never_more_than(world, 20, second)
    world.start()
    assert (world.run().window_end, world.run(TOMORROW).window_end) == (0, 20)
    to_their_ends(world, RUN, TOMORROW)


def test_two_that_open_the_window_at_the_same_moment_both_step_back_and_come_to_their_ends(world: World) -> None:
    """Each writes when the other has looked, and looks again when the other has written."""
    together = Barrier(2, timeout=10)
    met: Counter[int] = Counter()

    def in_step(sent: Sent) -> None:
        mine = get_ident()
        if (opens_window(sent) and not met[mine]) or (sent.operation == "BatchGetItem" and met[mine] == 1):
            met[mine] += 1
            together.wait()

    world.declare(a_job(window=20, overlap=Overlap.ALLOW))
    world.report = entries(48)
    world.start(nonce="first")  # the job's record, the table and the clients have seen a run
    to_their_ends(world, f"{RUN}-first")
    never_more_than(world, 20, in_step)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(world.start, [DUE, DUE + DAY]))
    assert sorted(met.values()) == [2, 2]
    world.wire.before = None
    assert world.run().window_end + world.run(TOMORROW).window_end <= 20
    never_more_than(world, 20, lambda _: None)
    to_their_ends(world, RUN, TOMORROW)


def test_a_run_that_has_ended_takes_no_room_in_the_window(world: World) -> None:
    world.declare(a_job(window=20))
    world.begin(20)
    world.drain()
    world.report = entries(20)
    world.start(DUE + DAY)
    assert world.run(TOMORROW).state is RunState.RUNNING


# --- the lease ---


def test_nothing_is_sent_in_the_last_seconds_of_a_lease(world: World) -> None:
    """Each batch takes ten seconds; another takes over from where this one stopped."""
    sent_at = []

    def slow_queue(sent: Sent) -> None:
        if sent.operation == "SendMessageBatch":
            sent_at.append(world.clock.now())
            world.later(timedelta(seconds=10))

    world.wire.before = slow_queue
    world.report = entries(60)
    ends = world.clock.now() + timedelta(minutes=1)
    run = world.start(lease=timedelta(minutes=1))
    assert max(sent_at) <= ends - SAFETY
    assert run is not None
    assert (run.state, run.checkpoint, run.lease_until) == (RunState.DISPATCHING, 15, None)
    world.wire.reset()
    world.resume()
    assert [message.index for message, _ in world.sent()] == list(range(15, 60))
    assert not any(marked for _, marked in world.sent())


def test_nothing_is_tried_again_in_the_last_seconds_of_a_lease(world: World) -> None:
    tried_at = []

    def slow_and_throttled(sent: Sent) -> dict[str, Any] | None:
        if sent.operation != "SendMessageBatch":
            return None
        tried_at.append(world.clock.now())
        world.later(timedelta(seconds=20))
        return failing("ThrottlingException", 0, 1)(sent.fields["Entries"])

    world.wire.before = slow_and_throttled
    ends = world.clock.now() + timedelta(minutes=1)
    with pytest.raises(DispatchFailed):
        world.start(lease=timedelta(minutes=1))
    assert max(tried_at) <= ends - SAFETY


def test_doubt_outlives_a_take_over_that_ran_out_of_time(world: World) -> None:
    """The first dies after sending all; the second has time for one chunk only; the third must mark the rest."""

    def die_at_the_end(sent: Sent) -> None:
        if sent.operation == "UpdateItem" and len(world.wire.of("SendMessageBatch")) == 4:
            raise Killed(str(sent))

    def slow_queue(sent: Sent) -> None:
        if sent.operation == "SendMessageBatch":
            world.later(LEASE - SAFETY)

    world.report = entries(20)
    world.wire.before = die_at_the_end
    with pytest.raises(Killed):
        world.start()
    assert len(world.sent()) == 20
    world.later(LEASE)
    world.wire.reset()
    world.wire.before = slow_queue
    world.resume()
    assert [message.index for message, _ in world.sent()] == list(range(5))
    world.wire.reset()
    world.resume()
    assert [message.index for message, _ in world.sent()] == list(range(5, 20))
    assert all(marked for _, marked in world.sent())


def test_a_zombie_takes_nothing_back(world: World) -> None:
    """It awakes between two of its batches, when another one has sent everything and the run is complete."""
    raced = False

    def taken_over(sent: Sent) -> None:
        nonlocal raced
        if sent.operation == "SendMessageBatch" and not raced:
            raced = True
            world.later(LEASE)
            world.resume()
            world.drain()

    world.wire.before = taken_over
    world.report = entries(5)
    world.start()
    run = world.run()
    assert (run.fence, run.state, run.owner) == (2, RunState.COMPLETE, None)
    assert world.outcomes() == {Outcome.SUCCEEDED: 5}


@pytest.mark.parametrize("write", [runs.open_window, runs.checkpoint])
def test_whoever_still_dispatches_a_run_that_is_complete_learns_that_it_is(
    world: World, write: Callable[[Ledger, RunRecord, int], RunRecord]
) -> None:
    """It is complete with the very numbers that the write would set: that is no sign of our own write."""
    run = world.begin(5)
    world.drain()
    with pytest.raises(runs.LostLease, match="it is complete"):
        write(world.ledger, run, 5)
