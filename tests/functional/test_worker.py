"""The worker: every entry of a batch ends as it deserves, and no other entry pays for it."""
# ruff: noqa: ARG001 - a callback takes a payload and a call, whichever of them a story needs

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from rollcall import Call, Entry, NotSent, Outcome, Overlap, Response, TryAgain, Unanswered
from rollcall.core.actions import Action
from rollcall.core.run import RunState
from tests.functional.workers import (
    SECOND,
    waits,
    writes_to_chunks,
)
from tests.functional.world import DAY, DUE, RUN, World, a_job

pytestmark = pytest.mark.on_moto

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
    assert (event["index"], event["error"]) == (1, f"http_{status}")


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
