"""Targets that take no keys: a claim stands before each call, and nothing is ever done twice."""
# ruff: noqa: ARG001 - a callback takes a payload and a call, whichever of them a story needs

import asyncio
from contextlib import suppress
from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from rollcall import Call, HttpError, NotSent, Outcome, Rejected, Response, TryAgain, Unanswered
from rollcall.adapters.ledger.records import node_key
from rollcall.core.actions import Action
from rollcall.core.call import Request
from rollcall.core.run import RunState
from rollcall.core.tree import Node
from rollcall.engine.runs.failures import failures
from rollcall.engine.worker.attempts import MOST_QUESTIONS
from tests.functional.bank import (
    INVOCATION,
    LOST,
    NOTHING,
    SETTLES,
    Step,
    ask,
    entry_of,
    handle_all,
    item_of,
    late,
    open_bank,
    transfer,
    work,
)
from tests.functional.wire import Killed, Sent
from tests.functional.world import DUE, RUN, World, delivered, keys

SECOND = timedelta(seconds=1)


def wait_of(world: World, index: int) -> int | None:
    return world.waits().get(world.batch(index)[0]["receiptHandle"])


# --- the order ---


def test_claim_then_call_then_outcome_then_chunk(world: World) -> None:
    async def note(payload: Any, call: Call) -> None:
        world.wire.sent.append(Sent("bank", "Call", {}))
        await transfer(payload, call)

    open_bank(world, 6, callback=note)
    batch = world.batch(0)
    world.wire.reset()
    assert world.work(batch) == []
    writes = [(sent.operation, sent.key) for sent in world.wire.sent if sent.operation != "BatchGetItem"]
    assert writes == [
        ("UpdateItem", item_of(0)),
        ("Call", ""),
        ("UpdateItem", item_of(0)),
        ("UpdateItem", node_key(RUN, 1, Node(0, 0))),
    ]
    claim, outcome = (sent.fields for sent in world.wire.of("UpdateItem")[:2])
    assert {"owner", "fence", "called_until"} <= set(claim["ExpressionAttributeNames"].values())
    assert "g1_outcome" in outcome["ExpressionAttributeNames"].values()


def test_a_claim_says_whose_it_is_and_until_when(world: World) -> None:
    claims: list[dict[str, Any]] = []

    async def look(payload: Any, call: Call) -> None:
        claims.append(entry_of(world, 0))

    open_bank(world, 1, callback=look)
    work(world, 0)
    (claim,) = claims
    assert (claim["fence"], claim["g1_attempts"]) == (1, 1)
    assert claim["called_until"].startswith((DUE + INVOCATION).isoformat()[:19])
    assert claim["first_call"].startswith(DUE.isoformat()[:19])
    after = entry_of(world, 0)
    assert after["g1_outcome"] == "succeeded"
    assert "owner" not in after


def test_an_invocation_makes_one_call_at_a_time(world: World) -> None:
    bank = open_bank(world, 10)
    assert work(world, *range(10)) == []
    assert bank.most_under_way == 1
    assert bank.keys == keys(10)


# --- answers ---


@pytest.mark.parametrize("proof", [429, 425, NotSent("refused"), TryAgain("the books are closed")], ids=repr)
def test_what_proves_that_nothing_was_done_is_called_again(world: World, proof: Step) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", proof, proof)
    handle_all(world)
    assert (len(bank.calls), bank.questions) == (3, [])
    assert world.outcome(0) is Outcome.SUCCEEDED
    assert bank.effects == {"D00": 1}


@pytest.mark.parametrize("answer", [500, 502, 503, 504, 408, 200, LOST, KeyError("bug")], ids=repr)
def test_anything_else_is_asked_about_and_never_repeated(world: World, answer: Step) -> None:
    async def clumsy(payload: Any, call: Call) -> None:
        try:
            await transfer(payload, call)
        finally:
            if answer == 200:
                raise ValueError("what the bank said cannot be read")

    bank = open_bank(world, 1, callback=clumsy)
    bank.on_call("D00", answer)
    bank.on_question("D00", then=None if answer in (200, LOST) else 500)
    handle_all(world)
    assert len(bank.calls) == 1
    assert world.outcome(0) is (Outcome.SUCCEEDED if answer in (200, LOST) else Outcome.UNKNOWN)


def test_a_target_may_declare_that_503_proves_it(world: World) -> None:
    bank = open_bank(world, 1, never_executed=frozenset({425, 429, 503}))
    bank.on_call("D00", 503, 503)
    handle_all(world)
    assert (len(bank.calls), bank.effects["D00"]) == (3, 1)


def test_proof_again_and_again_ends_failed(world: World) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", then=429)
    handle_all(world)
    assert len(bank.calls) == 4
    assert world.outcome(0) is Outcome.FAILED
    assert entry_of(world, 0)["g1_failed"]["error"] == "http_429"


def test_a_refusal_is_final(world: World) -> None:
    bank = open_bank(world, 2)
    bank.on_call("D00", 422)
    assert work(world, 0, 1) == []
    assert world.outcomes() == {Outcome.REJECTED: 1, Outcome.SUCCEEDED: 1}
    assert entry_of(world, 0)["g1_rejected"]["error"] == "http_422"


@pytest.mark.parametrize("second", [429, NotSent("refused")], ids=repr)
def test_a_request_that_did_nothing_proves_nothing_of_the_one_before_it(world: World, second: Step) -> None:
    """The callback makes two requests; the first one moves money."""

    async def twofold(payload: Any, call: Call) -> None:
        await transfer(payload, call)
        await call.http.post(f"/notices/{call.key}N")

    bank = open_bank(world, 1, callback=twofold, probe=None)
    bank.on_call("D00N", then=second)
    handle_all(world)
    assert bank.effects == {"D00": 1}
    assert world.outcome(0) is Outcome.UNKNOWN


def test_a_callback_may_know_better_that_nothing_was_done(world: World) -> None:
    async def knows(payload: Any, call: Call) -> None:
        try:
            await transfer(payload, call)
        except HttpError as error:
            raise TryAgain("the bank is closed, and says so") from error

    bank = open_bank(world, 1, callback=knows, probe=None)
    bank.on_call("D00", 503)
    handle_all(world)
    assert (len(bank.calls), world.outcome(0)) == (2, Outcome.SUCCEEDED)


def test_refused_credentials_prove_nothing_of_an_unanswered_request_before_them(world: World) -> None:
    async def stubborn(payload: Any, call: Call) -> None:
        with suppress(Unanswered):
            await transfer(payload, call)
        await call.http.post(f"/notices/{call.key}N")

    bank = open_bank(world, 1, callback=stubborn, probe=None)
    bank.on_call("D00", LOST)
    bank.on_call("D00N", then=401)
    handle_all(world)
    assert bank.effects == {"D00": 1}
    assert world.outcome(0) is Outcome.UNKNOWN


def test_a_plain_callback_that_goes_on_after_it_was_cut_off_reaches_nobody(world: World) -> None:
    cut_off = Event()

    def slow(payload: Any, call: Call) -> None:
        cut_off.wait(5)
        call.wait(transfer(payload, call))

    bank = open_bank(world, 1, callback=slow, timeout=SECOND / 5)
    work(world, 0)
    cut_off.set()
    world.runner.run(asyncio.sleep(0.05))
    assert bank.calls == []
    assert world.chunk().asking == {0}


def test_a_request_of_a_plain_callback_ends_with_its_call(world: World) -> None:
    """It waited for a connection, say, and would else go out in a later invocation."""
    sent: list[str] = []

    async def slowly(request: Request) -> Response:
        await asyncio.sleep(0.3)
        sent.append(request.path)
        return Response(200, {}, b"")

    def pay(payload: Any, call: Call) -> None:
        call.wait(transfer(payload, call))

    open_bank(world, 1, callback=pay, timeout=SECOND / 5)
    world.work(world.batch(0), worker=world.worker(slowly))
    world.runner.run(asyncio.sleep(0.3))
    assert sent == []
    assert world.chunk().asking == {0}


def test_a_request_that_changes_nothing_takes_no_proof_away(world: World) -> None:
    async def careful(payload: Any, call: Call) -> None:
        await call.http.get("/accounts/A1")
        await transfer(payload, call)

    bank = open_bank(world, 1, callback=careful, probe=None)
    bank.on_question("A1", then=200)
    bank.on_call("D00", 429, NotSent("refused"))
    handle_all(world)
    assert (len(bank.calls), world.outcome(0)) == (3, Outcome.SUCCEEDED)


# --- asking ---


@pytest.mark.parametrize(("refused", "outcome"), [(False, Outcome.SUCCEEDED), (True, Outcome.REJECTED)])
def test_what_the_probe_finds_settles_the_entry(world: World, refused: bool, outcome: Outcome) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", NOTHING if refused else LOST)
    if refused:
        bank.refused.add("D00")
    batch = world.batch(0)
    assert work(world, 0) == [batch[0]["messageId"]]
    assert wait_of(world, 0) == 2
    assert world.chunk().asking == {0}
    assert work(world, 0, receives=2) == []
    assert world.outcome(0) is outcome
    assert (len(bank.calls), len(bank.questions)) == (1, 1)
    assert world.events.of(Action.ENTRY_ASKED)[0]["found"] is outcome


def test_never_arrived_too_early_holds_and_then_it_is_called_once_more(world: World) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", NOTHING)
    work(world, 0)
    world.later(10 * SECOND)
    work(world, 0, receives=2)
    assert wait_of(world, 0) == (INVOCATION + SETTLES) // SECOND - 10
    assert len(bank.calls) == 1
    world.clock.set(DUE + INVOCATION + SETTLES - SECOND)
    work(world, 0, receives=3)
    assert len(bank.calls) == 1
    world.later(SECOND)
    assert work(world, 0, receives=4) == []
    assert (len(bank.calls), len(bank.questions)) == (2, 3)
    assert world.outcome(0) is Outcome.SUCCEEDED
    assert entry_of(world, 0)["fence"] == 2


def test_an_effect_that_shows_late_is_found_and_not_repeated(world: World) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", late(170))
    handle_all(world)
    assert (len(bank.calls), bank.effects["D00"]) == (1, 1)
    assert len(bank.questions) == 2
    assert world.outcome(0) is Outcome.SUCCEEDED


def test_calls_that_never_arrive_end_failed(world: World) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", then=NOTHING)
    handle_all(world)
    assert (len(bank.calls), bank.effects["D00"]) == (4, 0)
    assert world.outcome(0) is Outcome.FAILED
    assert entry_of(world, 0)["g1_failed"]["error"] == "never_arrived"


@pytest.mark.parametrize("answer", [500, 503, 422, Unanswered("timed out"), NotSent("refused")], ids=repr)
def test_a_target_that_cannot_tell_is_asked_a_few_times_and_then_it_is_unknown(world: World, answer: Any) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", LOST)
    bank.on_question("D00", then=answer)
    handle_all(world)
    assert (len(bank.calls), len(bank.questions)) == (1, MOST_QUESTIONS)
    assert world.outcome(0) is Outcome.UNKNOWN
    assert "the target could not tell" in entry_of(world, 0)["g1_unknown"]["reason"]


def test_questions_about_a_second_call_are_counted_anew(world: World) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", NOTHING, LOST)
    bank.on_question("D00", 500, 500, 500, None, None, 500, 500, 500, then=None)
    handle_all(world)
    assert (len(bank.calls), bank.effects["D00"]) == (2, 1)
    assert world.outcome(0) is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    "found", [None, Outcome.CANCELLED, True, 404, "booked", KeyError("bug"), Rejected("no")], ids=repr
)
def test_a_probe_that_answers_nonsense_ends_and_leads_to_no_call(world: World, found: Any) -> None:
    def nonsense(payload: Any, call: Call) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    bank = open_bank(world, 1, probe=nonsense)
    bank.on_call("D00", LOST)
    handle_all(world)
    assert len(bank.calls) == 1
    assert world.outcome(0) is Outcome.UNKNOWN
    assert world.events.count(Action.ENTRY_ASKED) == MOST_QUESTIONS


def test_a_probe_that_kills_its_worker_ends_and_leads_to_no_call(world: World) -> None:
    asked = 0

    async def deadly(payload: Any, call: Call) -> Any:
        nonlocal asked
        if call.key == "D00":
            asked += 1
            world.wire.kill_before(1)
            raise Killed
        return await ask(payload, call)

    bank = open_bank(world, 2, probe=deadly)
    bank.on_call("D00", LOST)
    bank.on_call("D01", LOST)
    handle_all(world)
    assert asked == MOST_QUESTIONS
    assert bank.effects == {"D00": 1, "D01": 1}
    assert len(bank.calls) == 2
    assert (world.outcome(0), world.outcome(1)) == (Outcome.UNKNOWN, Outcome.SUCCEEDED)
    assert world.run().state is RunState.COMPLETE


# --- nobody to ask ---


def test_without_a_probe_an_unanswered_call_is_unknown_at_once(world: World) -> None:
    bank = open_bank(world, 3, probe=None)
    bank.on_call("D01", LOST)
    assert work(world, 0, 1, 2) == []
    assert world.outcomes() == {Outcome.SUCCEEDED: 2, Outcome.UNKNOWN: 1}
    for receives in range(2, 5):
        assert work(world, 0, 1, 2, receives=receives) == []
    assert work(world, 0, 1, 2) == []
    assert bank.keys == keys(3)


def test_what_is_unknown_is_listed_with_its_call(world: World) -> None:
    bank = open_bank(world, 3, probe=None)
    bank.on_call("D01", LOST)
    work(world, 0, 1, 2)
    (failure,) = failures(world.ledger, world.manifests, world.run())
    assert (failure.key, failure.outcome, failure.attempts) == ("D01", Outcome.UNKNOWN, 1)
    assert (failure.error, failure.reason) == ("unanswered", "connection reset")
    assert failure.unanswered_since == DUE
    assert not failure.definite


def test_what_was_never_claimed_was_never_called_however_often_it_came(world: World) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", 422)
    work(world, 0, receives=5)
    (failure,) = failures(world.ledger, world.manifests, world.run())
    assert (failure.outcome, failure.definite, failure.unanswered_since) == (Outcome.REJECTED, True, None)


# --- messages that come again ---


@pytest.mark.parametrize("again", [{}, {"receives": 2}, {"again": True}], ids=["a copy", "redelivered", "sent again"])
@pytest.mark.parametrize("answer", [200, 422])
def test_a_settled_entry_is_not_called_again_whatever_message_comes(world: World, answer: int, again: Any) -> None:
    bank = open_bank(world, 6)
    bank.on_call("D00", answer)
    work(world, 0)
    outcomes = world.outcomes()
    assert work(world, 0, **again) == []
    assert len(bank.calls) == 1
    assert world.outcomes() == outcomes
    assert world.events.count(Action.ENTRY_SUPERSEDED) == 0


def test_two_messages_of_one_entry_at_once_make_one_call(world: World) -> None:
    bank = open_bank(world, 2)
    copy = delivered(world.message(0), message_id="copy")

    async def both() -> None:
        until = world.clock.now() + INVOCATION
        await asyncio.gather(world.worker().handle(world.batch(0), until), world.worker().handle([copy], until))

    world.runner.run(both())
    assert len(bank.calls) == 1
