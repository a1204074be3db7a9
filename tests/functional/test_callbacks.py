"""Callbacks: plain or not, what they return and raise, and how long they may take."""
# ruff: noqa: ARG001, ARG005 - a callback takes a payload and a call, whichever of them a story needs

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Event
from typing import Any

import pytest

from rollcall import Breaker, Call, Job, Outcome, Rejected, TryAgain
from rollcall.core.actions import Action
from tests.functional.world import DUE, NAME, RETRY, RUN, World, a_job


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
    assert event["error"] == "error_Mute"


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
