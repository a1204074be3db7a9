"""The worker: every entry of a batch ends as it deserves, and no other entry pays for it."""
# ruff: noqa: ARG001, ARG005 - a callback takes a payload and a call, whichever of them a story needs

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Event
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rollcall import Breaker, Call, Entry, Job, NotSent, Outcome, Overlap, Rejected, Response, TryAgain, Unanswered
from rollcall.adapters.ledger import entry_key
from rollcall.core.actions import Action
from rollcall.core.entry import entry_id
from rollcall.core.run import RunState, run_id
from tests.functional.wire import Sent
from tests.functional.world import DAY, DUE, NAME, RETRY, RUN, Called, World, a_job, delivered, keys

TOMORROW = run_id(NAME, DUE + DAY)
SECOND = timedelta(seconds=1)
#: The longest that an event of ten may take with the default target: below it, nothing is called any more.
TOO_SHORT = timedelta(seconds=10)


class WorkerKilled(BaseException):
    """The process ends in the middle of a call, as by os._exit or the out-of-memory killer."""


def ids(records: list[dict[str, Any]]) -> list[str]:
    return [record["messageId"] for record in records]


def waits(world: World, records: list[dict[str, Any]]) -> list[int | None]:
    """By how many seconds each record was put off, or None."""
    put_off = world.waits()
    return [put_off.get(record["receiptHandle"]) for record in records]


def writes_to_chunks(world: World) -> list[str]:
    return [sent.key for sent in world.wire.of("UpdateItem") if sent.key.startswith("node#") and "#0#" in sent.key]


def killed_by(world: World, records: list[dict[str, Any]]) -> None:
    """A worker's environment that dies with this batch."""
    with pytest.raises(WorkerKilled):
        world.work(records)
    world.wire.heal()


# --- settling ---


def test_a_batch_of_ten_settles_with_one_write_per_chunk(world: World) -> None:
    world.begin(26)
    world.wire.reset()
    assert world.work(world.batch(*range(2, 12))) == []
    world.wire.sent = [sent for sent in world.wire.sent if sent.operation != "GetObject"]
    chunks = writes_to_chunks(world)
    assert [key.rsplit("#", 1)[1] for key in chunks] == ["0", "1", "2"]
    assert world.outcomes() == {Outcome.SUCCEEDED: 10}


def test_a_success_leaves_nothing_in_the_ledger_but_its_position(world: World) -> None:
    world.begin(6)
    world.wire.reset()
    batch = world.batch(0, 1)
    world.wire.reset()
    world.work(batch)
    assert world.wire.counts() == {"BatchGetItem": 1, "UpdateItem": 1}
    assert world.entry("D00") == {}


def test_every_call_of_a_batch_is_under_way_at_the_same_time(world: World) -> None:
    together = asyncio.Barrier(10)

    async def wait_for_the_others(deposit: Any, call: Call) -> None:
        await together.wait()

    world.declare(a_job(concurrency=20), wait_for_the_others)
    world.begin(10)
    assert world.work(world.batch(*range(10))) == []
    assert world.outcomes() == {Outcome.SUCCEEDED: 10}


def test_the_runs_state_is_read_once_in_five_seconds(world: World) -> None:
    world.begin(6)
    worker = world.worker()
    first, second, third = world.batch(0), world.batch(1), world.batch(2)
    world.wire.reset()
    world.work(first, worker=worker)
    world.later(5 * SECOND)
    world.work(second, worker=worker)
    assert world.wire.counts()["BatchGetItem"] == 1
    world.later(SECOND)
    world.work(third, worker=worker)
    assert world.wire.counts()["BatchGetItem"] == 2


# --- answers ---


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
def test_a_no_of_the_target_is_a_rejection_with_its_answer_kept(world: World, status: int) -> None:
    world.begin(3)
    world.target.script("D01", Response(status, {}, b"no such client"))
    assert world.work(world.batch(0, 1, 2)) == []
    assert world.outcomes() == {Outcome.SUCCEEDED: 2, Outcome.REJECTED: 1}
    detail = world.entry("D01", 1)["g1_rejected"]
    assert (detail["error"], detail["reason"]) == (f"http_{status}", f"HTTP {status}: no such client")
    (event,) = world.events.of(Action.ENTRY_REJECTED)
    assert (event["key"], event["error"]) == ("D01", f"http_{status}")


@pytest.mark.parametrize(
    "answer",
    [408, 425, 429, 500, 502, 503, NotSent("refused"), Unanswered("reset"), KeyError("bug"), TryAgain("busy")],
    ids=str,
)
def test_what_may_pass_is_put_off_and_called_again(world: World, answer: int | BaseException) -> None:
    world.begin(3)
    world.target.script("D01", answer)
    batch = world.batch(0, 1, 2)
    assert world.work(batch) == [batch[1]["messageId"]]
    assert waits(world, batch) == [None, 2, None]
    assert world.outcome(1) is None
    assert world.events.of(Action.ENTRY_RETRY)[0]["wait_seconds"] == 2
    assert world.work(world.batch(1, receives=2)) == []
    assert world.outcomes() == {Outcome.SUCCEEDED: 3}


def test_the_waits_between_attempts_grow(world: World) -> None:
    world.begin(1)
    world.target.script("D00", then=503)
    seen = []
    for receives in range(1, 4):
        batch = world.batch(0, receives=receives)
        world.work(batch)
        seen += waits(world, batch)
    assert seen == [2, 4, 8]


@pytest.mark.parametrize(
    ("header", "wait"),
    [("120", 120), ("Sat, 21 Nov 2026 02:31:30 GMT", 90), ("soon", 2), ("0", 2), ("999999999", 11 * 3600)],
)
def test_the_targets_own_wait_is_honoured(world: World, header: str, wait: int) -> None:
    world.begin(1)
    world.target.script("D00", Response(429, {"retry-after": header}, b""))
    batch = world.batch(0)
    world.work(batch)
    assert waits(world, batch) == [wait]


def test_the_callbacks_own_wait_is_honoured(world: World) -> None:
    world.begin(1)
    world.target.script("D00", TryAgain("busy", after=timedelta(minutes=3)))
    batch = world.batch(0)
    world.work(batch)
    assert waits(world, batch) == [180]


def test_attempts_that_were_all_answered_end_failed(world: World) -> None:
    world.begin(2)
    world.target.script("D01", then=503)
    world.drain()
    assert world.target.times() == {"D00": 1, "D01": 4}
    assert world.outcome(1) is Outcome.FAILED
    assert world.run().state is RunState.COMPLETE
    detail = world.entry("D01", 1)["g1_failed"]
    assert (detail["error"], detail["attempt"]) == ("http_503", 4)
    assert world.events.of(Action.ENTRY_FAILED)[0]["attempt"] == 4


def test_one_unanswered_attempt_among_them_makes_it_unknown(world: World) -> None:
    world.begin(2)
    world.target.script("D01", 503, Unanswered("reset"), 503, then=503)
    world.drain()
    assert world.outcome(1) is Outcome.UNKNOWN
    assert "g1_unknown" in world.entry("D01", 1)
    assert world.events.count(Action.ENTRY_UNKNOWN) == 1


def test_a_request_that_was_provably_not_sent_leaves_no_doubt(world: World) -> None:
    world.begin(1)
    world.target.script("D00", *[NotSent("refused")] * 4)
    world.drain()
    assert world.outcome(0) is Outcome.FAILED


def test_a_callback_that_hides_an_unanswered_request_behind_its_own_error_is_unknown_all_the_same(
    world: World,
) -> None:
    async def hide(deposit: Any, call: Call) -> None:
        try:
            await call.http.post("/deposits/D00")
        except Unanswered:
            raise KeyError("clumsy") from None

    world.declare(a_job(), hide)
    world.begin(1)
    world.target.script("D00", *[Unanswered("reset")] * 4)
    world.drain()
    assert world.outcome(0) is Outcome.UNKNOWN


def test_a_conflict_after_an_unanswered_attempt_is_asked_again_with_the_same_key(world: World) -> None:
    world.begin(1)
    world.target.script("D00", Unanswered("reset"), 409, 200)
    world.drain()
    assert world.outcome(0) is Outcome.SUCCEEDED
    assert len({call.idempotency_key for call in world.target.calls}) == 1
    assert len(world.target.calls) == 3


# --- the idempotency key ---


def test_the_idempotency_key_is_the_same_over_retries_redeliveries_and_marks(world: World) -> None:
    world.begin(1)
    world.target.script("D00", 503, Unanswered("reset"), 503)
    for records in (
        world.batch(0),
        world.batch(0, receives=2),
        world.batch(0, again=True),
        world.batch(0, receives=9),
    ):
        world.work(records)
    assert len(world.target.calls) == 4
    assert len({call.idempotency_key for call in world.target.calls}) == 1
    assert world.target.calls[0].idempotency_key.startswith(RUN)


def test_an_entrys_own_business_key_is_its_idempotency_key(world: World) -> None:
    world.report = [Entry("D00", {}, "transfer-7"), Entry("D01", {}, "übertrag 8")]
    world.start()
    world.drain()
    assert [call.idempotency_key for call in world.target.calls] == ["transfer-7", "%C3%BCbertrag 8"]


def test_two_runs_of_an_entity_have_keys_of_their_own(world: World) -> None:
    world.declare(a_job(overlap=Overlap.ALLOW))
    world.begin(1)
    world.begin(1, scheduled_for=DUE + DAY)
    world.drain()
    first, second = world.target.calls
    assert first.idempotency_key != second.idempotency_key


# --- redelivery ---


@pytest.mark.parametrize("again", [{"receives": 2}, {"again": True}], ids=["received twice", "marked as sent again"])
def test_a_settled_entry_that_comes_again_is_not_called_again(world: World, again: dict[str, Any]) -> None:
    world.begin(6)
    world.work(world.batch(0, 1))
    assert world.work(world.batch(0, 1, **again)) == []
    assert world.target.times() == {"D00": 1, "D01": 1}
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}


def test_a_settled_entry_that_comes_again_heals_the_counting_above_it(world: World) -> None:
    """The worker that filled the last chunk died before it told the node above."""

    def die_between_the_levels(sent: Sent) -> None:
        if sent.operation == "UpdateItem" and f"node#{RUN}#1#1#" in sent.key:
            raise WorkerKilled

    world.begin(10)
    world.work(world.batch(*range(5)))
    world.wire.before = die_between_the_levels
    killed_by(world, world.batch(*range(5, 10)))
    assert world.run().state is RunState.RUNNING
    assert world.work(world.batch(9, receives=2)) == []
    assert world.run().state is RunState.COMPLETE
    assert len(world.target.calls) == 10


def test_what_a_dead_worker_may_have_called_cannot_end_failed(world: World) -> None:
    """It was received once before and nothing is known of that: its first call may have had any effect."""
    world.begin(1)
    world.target.script("D00", then=503)
    for receives in range(2, 6):
        world.work(world.batch(0, receives=receives))
    assert world.outcome(0) is Outcome.UNKNOWN
    assert len(world.target.calls) == 4


def test_a_first_outcome_stands_whatever_comes_later(world: World) -> None:
    """A zombie's success comes when the entry has failed already."""
    world.begin(2)
    world.target.script("D00", 400)
    world.work(world.batch(0))
    world.work(world.batch(0))
    assert len(world.target.calls) == 2
    assert world.outcome(0) is Outcome.REJECTED
    (event,) = world.events.of(Action.ENTRY_SUPERSEDED)
    assert event["stands"] is Outcome.REJECTED


def test_a_late_failure_does_not_undo_a_success(world: World) -> None:
    world.begin(6)
    world.work(world.batch(0))
    world.target.script("D00", 400)
    world.target.script("D01", 400)
    world.work(world.batch(0, 1, 2))
    assert [world.outcome(index) for index in range(3)] == [Outcome.SUCCEEDED, Outcome.REJECTED, Outcome.SUCCEEDED]
    assert world.events.count(Action.ENTRY_SUPERSEDED) == 1


def test_a_late_failure_that_meets_a_full_chunk_counts_it(world: World) -> None:
    """Its write is refused; what the refusal shows is a full chunk whose parent may not know."""
    world.begin(10)
    world.work(world.batch(*range(5)))
    world.work(world.batch(*range(5, 9)))

    def die_between_the_levels(sent: Sent) -> None:
        if sent.operation == "UpdateItem" and "#1#1#" in sent.key:
            raise WorkerKilled

    world.wire.before = die_between_the_levels
    killed_by(world, world.batch(9))
    world.target.script("D09", 400)
    world.work(world.batch(9))
    assert world.run().state is RunState.COMPLETE
    assert world.outcomes() == {Outcome.SUCCEEDED: 10}


def test_sixty_failures_in_one_chunk_are_settled_within_dynamodbs_limits(world: World) -> None:
    world.chunk_size, world.fan_in = 60, 60
    world.report = [Entry(None, {"row": number}) for number in range(60)]
    world.start()
    assert world.outcomes() == {Outcome.REJECTED: 60}
    assert len(writes_to_chunks(world)) == 2
    assert world.run().state is RunState.COMPLETE


def test_an_outcome_that_came_too_late_is_kept_and_marked_as_superseded(world: World) -> None:
    world.begin(6)
    world.work(world.batch(0))
    world.target.script("D00", 400)
    world.work(world.batch(0))
    entry = world.entry("D00")
    assert entry["g1_rejected"]["error"] == "http_400"
    assert entry["g1_rejected_superseded"] is True
    assert world.outcome(0) is Outcome.SUCCEEDED


def test_a_success_that_came_too_late_leaves_the_outcome_that_stands_unmarked(world: World) -> None:
    world.begin(6)
    world.target.script("D00", 400)
    world.work(world.batch(0))
    before = world.entry("D00")
    world.work(world.batch(0))
    assert world.entry("D00") == before


# --- two messages of one entry ---


def with_copy(world: World, receives: int = 1) -> list[dict[str, Any]]:
    """A batch of an entry's first message, and of the one that a take-over sent once more."""
    return [*world.batch(0, receives=receives), delivered(world.message(0), again=True, message_id="copy")]


def test_an_entrys_second_message_goes_when_the_first_got_an_outcome_which_stands(world: World) -> None:
    world.begin(1)
    world.target.script("D00", 400)
    assert world.work(with_copy(world)) == []
    assert world.target.times() == {"D00": 1}
    assert world.outcomes() == {Outcome.REJECTED: 1}
    assert world.events.count(Action.ENTRY_SUPERSEDED) == 0


def test_an_entrys_second_message_stays_as_long_as_the_first(world: World) -> None:
    world.begin(1)
    world.target.script("D00", 503)
    batch = with_copy(world)
    assert world.work(batch) == ids(batch)
    assert world.target.times() == {"D00": 1}
    assert world.outcomes() == {}
    assert world.work(with_copy(world, receives=2)) == []
    assert world.target.times() == {"D00": 2}
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}


def test_an_entrys_second_message_waits_no_longer_than_the_first(world: World) -> None:
    world.begin(1)
    world.target.script("D00", 503)
    batch = with_copy(world)
    world.work(batch)
    assert waits(world, batch) == [2, 2]


def test_the_second_message_of_a_settled_entry_goes_with_the_first(world: World) -> None:
    world.begin(2)
    world.work(world.batch(0))
    assert world.work(with_copy(world, receives=2)) == []
    assert world.target.times() == {"D00": 1}


@pytest.mark.parametrize(("answer", "stay"), [(200, False), (503, True)])
def test_the_second_message_of_a_suspect_shares_the_lot_of_the_first(world: World, answer: int, stay: bool) -> None:
    world.begin(1)
    make_suspect(world, 0)
    world.target.calls.clear()
    world.target.script("D00", answer)
    batch = with_copy(world, receives=3)
    assert world.work(batch) == (ids(batch) if stay else [])
    assert world.target.times() == {"D00": 1}
    assert world.outcomes() == ({} if stay else {Outcome.SUCCEEDED: 1})


# --- groups ---


def two_runs(world: World, number: int) -> None:
    """The same entities in two runs, one after the other: two messages in every group."""
    world.declare(a_job(overlap=Overlap.ALLOW))
    world.begin(number)
    world.begin(number, scheduled_for=DUE + DAY)


def test_two_messages_of_one_group_are_called_in_their_order_one_at_a_time(world: World) -> None:
    under_way: list[str] = []
    order: list[str] = []

    async def note(deposit: Any, call: Call) -> None:
        assert call.key not in under_way
        under_way.append(call.key)
        await asyncio.sleep(0.01)
        under_way.remove(call.key)
        order.append(f"{call.run_id} {call.key}")

    two_runs(world, 2)
    world.job._callback = note
    assert world.work([*world.batch(0, 1), *world.batch(0, 1, run=TOMORROW)]) == []
    assert order.index(f"{RUN} D00") < order.index(f"{TOMORROW} D00")
    assert order.index(f"{RUN} D01") < order.index(f"{TOMORROW} D01")


def test_one_returned_message_returns_the_rest_of_its_group_uncalled(world: World) -> None:
    two_runs(world, 2)
    world.target.script("D00", 503)
    batch = [*world.batch(0, 1), *world.batch(0, 1, run=TOMORROW)]
    assert set(world.work(batch)) == {batch[0]["messageId"], batch[2]["messageId"]}
    assert waits(world, batch) == [2, None, 2, None]
    assert world.target.times() == {"D00": 1, "D01": 2}
    assert world.chunk(0, TOMORROW).held == {0}


def test_a_suspect_does_not_let_the_next_message_of_its_group_pass(world: World) -> None:
    two_runs(world, 1)
    make_suspect(world, 0)
    world.target.calls.clear()
    world.target.script("D00", 503)
    batch = [*world.batch(0, receives=3), *world.batch(0, run=TOMORROW)]
    assert set(world.work(batch)) == set(ids(batch))
    assert len(world.target.calls) == 1
    assert world.target.calls[0].idempotency_key.startswith(RUN + "-")
    assert world.chunk(0, TOMORROW).held == {0}


# --- out of time ---


def test_what_cannot_be_called_in_time_is_returned_and_held(world: World) -> None:
    world.begin(3)
    batch = world.batch(0, 1, 2)
    assert set(world.work(batch, time=TOO_SHORT)) == set(ids(batch))
    assert world.target.calls == []
    assert world.chunk().held == {0, 1, 2}
    assert waits(world, batch) == [0, 0, 0]


def test_a_held_entry_has_used_up_nothing_and_may_still_end_failed(world: World) -> None:
    world.begin(1)
    world.target.script("D00", then=503)
    world.work(world.batch(0), time=TOO_SHORT)
    for receives in range(2, 6):
        world.work(world.batch(0, receives=receives))
    assert len(world.target.calls) == 4
    assert world.outcome(0) is Outcome.FAILED
    assert world.chunk().held == frozenset()


def test_to_be_held_does_not_clear_an_entry_of_an_older_doubt(world: World) -> None:
    """A worker died with it first; then there was no time to call it; its first call is in doubt as ever."""
    world.begin(1)
    world.target.script("D00", then=503)
    world.work(world.batch(0, receives=2), time=TOO_SHORT)
    for receives in range(3, 7):
        world.work(world.batch(0, receives=receives))
    assert world.outcome(0) is Outcome.UNKNOWN


def test_a_suspect_without_time_for_its_call_has_used_up_no_attempt(world: World) -> None:
    world.begin(1)
    make_suspect(world, 0)
    world.target.calls.clear()
    for receives in range(3, 9):
        world.work(world.batch(0, receives=receives), time=TOO_SHORT)
    assert world.target.calls == []
    assert world.chunk().attempts == {}
    assert world.chunk().begun == {0}, "it is a suspect still"
    world.work(world.batch(0, receives=9))
    assert world.outcome(0) is Outcome.SUCCEEDED


# --- poison ---


def make_suspect(world: World, *indexes: int) -> None:
    """Two workers died with these entries: the second one had noted them as begun."""

    async def die(deposit: Any, call: Call) -> None:
        raise WorkerKilled

    callback, world.job._callback = world.job._callback, die
    killed_by(world, world.batch(*indexes))
    killed_by(world, world.batch(*indexes, receives=2))
    world.job._callback = callback
    assert world.chunk(indexes[0]).begun >= {index % 5 for index in indexes}


def poisoned(world: World, *poison: str) -> Callable[[Any, Call], Awaitable[None]]:
    """A callback that takes its worker down for these keys."""

    async def callback(deposit: Any, call: Call) -> None:
        if call.key in poison:
            world.target.calls.append(Called(call.key, call.idempotency_key, world.clock.now()))
            raise WorkerKilled
        await call.http.put(f"/deposits/{call.key}")

    return callback


def deliver_until_settled(world: World, *indexes: int) -> int:
    """Redeliver what is not settled, as SQS does after the visibility timeout; returns the number of receives."""
    for receives in range(1, 30):
        left = [index for index in indexes if world.outcome(index) is None]
        if not left:
            return receives - 1
        try:
            world.work(world.batch(*left, receives=receives))
        except WorkerKilled:
            world.later(timedelta(minutes=3))
    raise AssertionError("they are never settled")


def test_an_entry_that_is_redelivered_is_noted_as_begun_before_it_is_called(world: World) -> None:
    begun: list[frozenset[int]] = []

    async def look(deposit: Any, call: Call) -> None:
        begun.append(world.chunk().begun)

    world.declare(a_job(), look)
    world.begin(2)
    world.work(world.batch(0))
    world.work(world.batch(1, receives=2))
    assert begun == [frozenset(), {1}]
    assert world.chunk().begun == frozenset()


def test_an_entry_that_kills_its_worker_ends_unknown_and_its_neighbours_are_settled(world: World) -> None:
    world.declare(a_job())
    world.begin(5)
    world.job._callback = poisoned(world, "D02")
    deliver_until_settled(world, *range(5))
    assert world.outcomes() == {Outcome.SUCCEEDED: 4, Outcome.UNKNOWN: 1}
    assert world.outcome(2) is Outcome.UNKNOWN
    assert world.entry("D02", 2)["g1_unknown"]["error"] == "worker_died"
    assert world.run().state is RunState.COMPLETE
    assert world.target.times()["D02"] == 2 + 4


def test_two_that_kill_their_workers_do_not_hide_behind_each_other(world: World) -> None:
    world.declare(a_job())
    world.begin(5)
    world.job._callback = poisoned(world, "D01", "D03")
    deliver_until_settled(world, *range(5))
    assert world.outcomes() == {Outcome.SUCCEEDED: 3, Outcome.UNKNOWN: 2}


def test_suspects_are_called_alone_one_after_another_each_settled_before_the_next(world: World) -> None:
    world.begin(5)
    make_suspect(world, 0, 1, 2)
    under_way: list[str] = []
    settled_by_then: list[set[int]] = []

    async def alone(deposit: Any, call: Call) -> None:
        assert under_way == []
        under_way.append(call.key)
        settled_by_then.append(set(world.chunk().settled))
        await asyncio.sleep(0.01)
        under_way.remove(call.key)

    world.job._callback = alone
    world.work([*world.batch(0, 1, 2, receives=3), *world.batch(3)])
    assert settled_by_then == [set(), {3}, {3, 0}, {3, 0, 1}]
    assert world.events.count(Action.ENTRY_SUSPECT) == 3


def test_a_suspects_attempt_is_used_up_before_its_call(world: World) -> None:
    world.begin(1)
    make_suspect(world, 0)
    seen: list[int] = []

    async def look(deposit: Any, call: Call) -> None:
        seen.append(world.chunk().attempts[0])

    world.job._callback = look
    world.work(world.batch(0, receives=3))
    assert seen == [1]


def test_a_suspect_that_is_answered_badly_goes_on_with_its_attempts(world: World) -> None:
    world.begin(1)
    make_suspect(world, 0)
    world.target.calls.clear()
    world.target.script("D00", then=503)
    batch = world.batch(0, receives=3)
    assert world.work(batch) == ids(batch)
    assert waits(world, batch) == [2]
    for receives in range(4, 7):
        world.work(world.batch(0, receives=receives))
    assert len(world.target.calls) == 4
    assert world.outcome(0) is Outcome.UNKNOWN


def test_a_suspect_whose_last_attempt_is_answered_badly_ends_unknown_for_the_call_that_was_not(world: World) -> None:
    world.begin(1)
    world.target.script("D00", 503, 503, 503, WorkerKilled(), then=503)
    for receives in range(1, 4):
        world.work(world.batch(0, receives=receives))
    killed_by(world, world.batch(0, receives=4))
    assert world.work(world.batch(0, receives=5)) == []
    assert world.outcome(0) is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("plain", "error"),
    [
        (True, SystemExit(3)),
        (True, StopIteration()),
        (False, SystemExit(3)),
        (False, StopIteration()),
        (False, asyncio.CancelledError()),
    ],
    ids=repr,
)
def test_a_callback_that_wants_to_end_the_process_is_an_error_of_its_entry_alone(
    world: World, plain: bool, error: BaseException
) -> None:
    def exits(deposit: Any, call: Call) -> None:
        if call.key == "D01":
            raise error

    async def exits_too(deposit: Any, call: Call) -> None:
        exits(deposit, call)

    world.declare(a_job(timeout=timedelta(seconds=5)), exits if plain else exits_too)
    world.begin(3)
    began = time.monotonic()
    batch = world.batch(0, 1, 2)
    assert world.work(batch) == [batch[1]["messageId"]]
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}
    assert time.monotonic() - began < 4
    assert world.events.of(Action.ENTRY_RETRY)[0]["error"].startswith("error_")


# --- the ledger fails ---


def throttled(*keys: str) -> Callable[[Sent], None]:
    """DynamoDB refuses writes of these items."""

    def before(sent: Sent) -> None:
        if sent.operation == "UpdateItem" and sent.key in keys:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "UpdateItem")

    return before


def test_a_chunk_that_cannot_be_written_keeps_its_messages_and_no_others(world: World) -> None:
    world.begin(10)
    batch = world.batch(*range(10))
    world.wire.before = throttled(f"node#{RUN}#1#0#1")
    assert set(world.work(batch)) == set(ids(batch[5:]))
    assert world.events.count(Action.ENTRY_RETURNED) == 1
    world.wire.heal()
    assert world.outcomes() == {Outcome.SUCCEEDED: 5}
    assert world.work(world.batch(*range(5, 10), receives=2)) == []
    assert world.run().state is RunState.COMPLETE


def once(refuse: Callable[[Sent], None], key: str) -> Callable[[Sent], None]:
    """Refuse the first write of an item only."""
    made = 0

    def before(sent: Sent) -> None:
        nonlocal made
        if sent.operation == "UpdateItem" and sent.key == key:
            made += 1
            if made == 1:
                refuse(sent)

    return before


@pytest.mark.parametrize("always", [True, False], ids=["for good", "once"])
def test_a_chunk_that_cannot_be_begun_keeps_its_entries_uncalled_and_no_others(world: World, always: bool) -> None:
    world.begin(10)
    batch = world.batch(*range(10), receives=2)
    refused = f"node#{RUN}#1#0#1"
    world.wire.before = throttled(refused) if always else once(throttled(refused), refused)
    assert set(world.work(batch)) == set(ids(batch[5:]))
    world.wire.heal()
    assert world.target.times() == dict.fromkeys(keys(5), 1)
    assert world.outcomes() == {Outcome.SUCCEEDED: 5}
    assert world.events.count(Action.ENTRY_RETURNED) == 1
    assert world.work(world.batch(*range(5, 10), receives=3)) == []
    assert world.run().state is RunState.COMPLETE


def test_a_chunk_that_cannot_be_begun_does_not_clear_its_entries_of_an_older_doubt(world: World) -> None:
    """A worker may have died with it; what the ledger knows of that could not be read."""
    world.begin(1)
    world.target.script("D00", then=503)
    chunk = f"node#{RUN}#1#0#0"
    world.wire.before = once(throttled(chunk), chunk)
    world.work(world.batch(0, receives=2))
    world.wire.heal()
    assert world.target.calls == []
    for receives in range(3, 7):
        world.work(world.batch(0, receives=receives))
    assert len(world.target.calls) == 4
    assert world.outcome(0) is Outcome.UNKNOWN


def test_a_rejection_whose_reason_cannot_be_kept_is_not_settled(world: World) -> None:
    world.begin(3)
    world.target.script("D01", then=400)
    batch = world.batch(0, 1, 2)
    world.wire.before = throttled(entry_key(RUN, entry_id("D01", 1)))
    assert set(world.work(batch)) == set(ids(batch))
    world.wire.heal()
    world.work(world.batch(0, 1, 2, receives=2))
    assert world.outcomes() == {Outcome.SUCCEEDED: 2, Outcome.REJECTED: 1}


def test_a_message_that_cannot_be_put_off_stays_and_its_neighbours_are_answered_for(world: World) -> None:
    def before(sent: Sent) -> None:
        if sent.operation == "ChangeMessageVisibilityBatch":
            raise ClientError({"Error": {"Code": "RequestThrottled", "Message": "slow down"}}, sent.operation)

    world.begin(3)
    world.target.script("D01", 503)
    world.wire.before = before
    batch = world.batch(0, 1, 2)
    assert world.work(batch) == [batch[1]["messageId"]]
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}


def test_a_suspect_that_cannot_be_noted_is_returned_uncalled_and_its_neighbours_are_answered_for(world: World) -> None:
    world.begin(10)
    make_suspect(world, 0)
    made = 0

    def before(sent: Sent) -> None:
        nonlocal made
        if sent.operation == "UpdateItem" and sent.key == f"node#{RUN}#1#0#0":
            made += 1
            if made > 1:  # the first one begins
                throttled(sent.key)(sent)

    world.target.calls.clear()
    batch = [*world.batch(0, receives=3), *world.batch(5, 6)]
    world.wire.before = before
    assert world.work(batch) == [batch[0]["messageId"]]
    world.wire.heal()
    assert world.target.times() == {"D05": 1, "D06": 1}
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}


# --- callbacks ---


def run_of_one(world: World, callback: Any, **options: Any) -> None:
    world.declare(a_job(**options), callback)
    world.begin(1)
    world.work(world.batch(0))


def test_a_plain_callback_waits_for_its_requests_with_call_wait(world: World) -> None:
    seen: list[int] = []

    def plain(deposit: Any, call: Call) -> None:
        seen.append(call.wait(call.http.post("/deposits/D00", json=deposit)).status)

    run_of_one(world, plain)
    assert seen == [200]
    assert world.outcome(0) is Outcome.SUCCEEDED


def test_a_plain_callbacks_errors_are_classed_as_any_others(world: World) -> None:
    world.target.script("D00", 404)
    run_of_one(world, lambda deposit, call: call.wait(call.http.get("/deposits/D00")) and None)
    assert world.entry("D00")["g1_rejected"]["error"] == "http_404"


def test_plain_callbacks_of_a_batch_run_at_the_same_time(world: World) -> None:
    together = Barrier(5)

    def wait_for_the_others(deposit: Any, call: Call) -> None:
        together.wait(timeout=5)

    world.declare(a_job(concurrency=20), wait_for_the_others)
    world.begin(5)
    assert world.work(world.batch(*range(5))) == []
    assert world.outcomes() == {Outcome.SUCCEEDED: 5}


def test_a_call_knows_its_run_its_attempt_and_how_late_it_is(world: World) -> None:
    calls: list[Call] = []

    async def note(deposit: Any, call: Call) -> None:
        calls.append(call)
        raise TryAgain("once more")

    world.declare(a_job(), note)
    world.begin(1)
    world.later(timedelta(minutes=7))
    world.work(world.batch(0))
    world.work(world.batch(0, receives=2))
    assert [call.attempt for call in calls] == [1, 2]
    assert (calls[0].run_id, calls[0].key, calls[0].scheduled_for) == (RUN, "D00", DUE)
    assert calls[0].late_by == timedelta(minutes=7)
    assert calls[0].remaining == timedelta(seconds=10)


def test_a_call_that_takes_too_long_is_cut_off_and_counts_as_unanswered(world: World) -> None:
    async def sleep(deposit: Any, call: Call) -> None:
        await asyncio.sleep(30)

    run_of_one(world, sleep, timeout=timedelta(seconds=0.1))
    assert world.events.of(Action.ENTRY_RETRY)[0]["error"] == "unanswered"
    assert world.chunk().unanswered == {0}


def test_a_plain_call_that_takes_too_long_is_cut_off_too(world: World) -> None:
    run_of_one(world, lambda deposit, call: time.sleep(0.5), timeout=timedelta(seconds=0.1))
    assert world.events.of(Action.ENTRY_RETRY)[0]["error"] == "unanswered"


def test_plain_calls_that_hang_take_no_thread_from_the_others_of_their_batch_and_of_the_next_ones(
    world: World,
) -> None:
    """Nine of each ten never come back; an environment has ten calls at once."""
    over = Event()

    def hang(deposit: Any, call: Call) -> None:
        if not call.key.endswith("9"):
            over.wait()

    patient = Breaker(failures=100)
    world.declare(a_job(timeout=timedelta(seconds=0.2), retry=replace(RETRY, retries=0), breaker=patient), hang)
    world.begin(30)
    worker = world.worker()
    try:
        for first in (0, 10, 20):
            assert world.work(world.batch(*range(first, first + 10)), worker=worker) == []
            assert world.outcome(first + 9) is Outcome.SUCCEEDED
    finally:
        over.set()
    assert world.outcomes() == {Outcome.SUCCEEDED: 3, Outcome.UNKNOWN: 27}
    assert world.entry("D00")["g1_unknown"]["reason"] == "the call was cut off after 0.2 s"


class Mute(Exception):
    """Fails to say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")


def test_an_exception_that_cannot_be_told_is_an_answer_like_any_other(world: World) -> None:
    world.begin(3)
    world.target.script("D01", Mute())
    batch = world.batch(0, 1, 2)
    assert world.work(batch) == [batch[1]["messageId"]]
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}
    (event,) = world.events.of(Action.ENTRY_RETRY)
    assert (event["error"], event["reason"]) == ("error_Mute", "Mute: Mute")


def test_a_reason_that_is_no_unicode_is_kept_as_far_as_it_is(world: World) -> None:
    world.begin(3)
    world.target.script("D01", Rejected("no \ud83d client"))
    assert world.work(world.batch(0, 1, 2)) == []
    assert world.outcomes() == {Outcome.SUCCEEDED: 2, Outcome.REJECTED: 1}
    assert world.entry("D01", 1)["g1_rejected"]["reason"] == "no ? client"


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.REJECTED, Outcome.FAILED, Outcome.UNKNOWN])
def test_an_outcome_that_a_callback_returns_stands(world: World, outcome: Outcome) -> None:
    run_of_one(world, lambda deposit, call: outcome)
    assert world.outcome(0) is outcome


@pytest.mark.parametrize("nonsense", [True, "ok", 200, {"status": "ok"}, [Outcome.SUCCEEDED]], ids=repr)
def test_a_callback_that_returns_nonsense_fails_with_advice_and_is_not_called_again(
    world: World, nonsense: object
) -> None:
    run_of_one(world, lambda deposit, call: nonsense)
    assert world.outcome(0) is Outcome.FAILED
    assert "return an Outcome, or nothing for success" in world.entry("D00")["g1_failed"]["reason"]


def test_a_callback_may_reject_its_entry(world: World) -> None:
    def reject(deposit: Any, call: Call) -> None:
        raise Rejected("the client is closed")

    run_of_one(world, reject)
    assert world.entry("D00")["g1_rejected"]["reason"] == "the client is closed"


def test_a_payload_that_no_longer_fits_the_callback_is_that_entrys_error(world: World) -> None:
    """The job's annotation has changed between the enumeration and the call."""
    world.begin(1)

    def other(deposit: int, call: Call) -> None:
        raise AssertionError("never called")

    changed = Job(NAME, schedule=world.job.schedule, target=world.job.target, retry=world.job.retry)
    changed.callback(other)
    world.job = changed
    world.work(world.batch(0))
    assert world.events.of(Action.ENTRY_RETRY)[0]["error"] == "error_ValidationError"


# --- messages that are no entry of a run under way ---


def dropped(world: World, body: Any, reason: str) -> None:
    """The message is taken off the queue, with a line that says why, and nothing is written or called."""
    before = world.ledger_dump()
    world.target.calls.clear()
    assert world.work([delivered(body)]) == []
    (event,) = world.events.of(Action.MESSAGE_DROPPED)
    assert reason in event["reason"]
    assert world.ledger_dump() == before
    assert world.target.calls == []


@pytest.mark.parametrize("body", ["", "not JSON", "[]", "null", "{}", '{"run": 1}', "[" * 100_000], ids=lambda b: b[:9])
def test_what_is_no_message_is_dropped(world: World, body: str) -> None:
    world.begin(2)
    dropped(world, body, "the body is not")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"run": f"{NAME}-20301121T023000Z"}, "its run is not known"),
        ({"run": "another-job-20261121T023000Z"}, "it is of the job another-job"),
        ({"generation": 2}, "generation 2 is not the run's, 1"),
        ({"generation": 0}, "generation 0 is not the run's, 1"),
        ({"index": 7}, "index 7 is outside of the run's 7"),
        ({"index": -1}, "index -1 is outside of the run's 7"),
        ({"total": 8}, "total 8 is not the run's, 7"),
        ({"chunk": 1}, "index 0 is not in chunk 1"),
    ],
    ids=str,
)
def test_a_message_whose_numbers_are_not_the_runs_is_dropped(world: World, fields: dict[str, Any], reason: str) -> None:
    world.begin(7)
    dropped(world, replace(world.message(0), **fields), reason)


def test_a_message_of_a_run_that_is_complete_is_dropped(world: World) -> None:
    world.begin(2)
    world.drain()
    dropped(world, world.message(0), "its run is complete")


def test_a_message_of_a_run_that_was_skipped_is_dropped(world: World) -> None:
    world.begin(2)
    message = replace(world.message(0), run=TOMORROW)
    world.start(DUE + DAY)
    dropped(world, message, "its run is skipped")


def test_a_dropped_message_does_not_keep_its_neighbours_from_being_called(world: World) -> None:
    world.begin(2)
    stale = replace(world.message(0), generation=9)
    assert world.work([delivered("nonsense"), delivered(stale), *world.batch(0, 1)]) == []
    assert world.events.count(Action.MESSAGE_DROPPED) == 2
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}


def test_a_run_that_is_cancelled_settles_what_it_receives_without_calling(world: World) -> None:
    world.begin(2)
    world.tamper(state=RunState.CANCELLING.value)
    assert world.work(world.batch(0, 1)) == []
    assert world.target.calls == []
    assert world.outcomes() == {Outcome.CANCELLED: 2}
    assert world.run().state is RunState.CANCELLED
