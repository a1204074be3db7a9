"""Targets that take no keys: a claim stands before each call, and nothing is ever done twice."""
# ruff: noqa: ARG001 - a callback takes a payload and a call, whichever of them a story needs

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rollcall import Call, NotSent, Outcome, Rejected, TryAgain, Unanswered
from rollcall.adapters.ledger import entry_key, node_key
from rollcall.core.actions import Action
from rollcall.core.entry import entry_id
from rollcall.core.run import RunState
from rollcall.core.tree import Node
from rollcall.engine.attempts import MOST_QUESTIONS
from rollcall.engine.failures import failures
from tests.functional.bank import INVOCATION, LOST, NOTHING, Bank, Done, Step, ask, bury, handle_all, late, transfer
from tests.functional.wire import Killed, Sent
from tests.functional.world import DUE, RUN, World, a_job, delivered, keys

SECOND = timedelta(seconds=1)
SETTLES = timedelta(minutes=2)


def open_bank(world: World, number: int, *, probe: Any = ask, callback: Any = transfer, **options: Any) -> Bank:
    """A run of `number` transfers by a bank that takes no keys."""
    world.target = bank = Bank(world, takes_keys=False)
    job = world.declare(a_job(**{"keys": None, "settles_within": SETTLES, **options}), callback)
    if probe is not None:
        job.probe(probe)
    world.begin(number)
    return bank


def work(world: World, *indexes: int, receives: int = 1, **more: Any) -> list[str]:
    return world.work(world.batch(*indexes, receives=receives, **more), time=INVOCATION)


def wait_of(world: World, index: int) -> int | None:
    return world.waits().get(world.batch(index)[0]["receiptHandle"])


def entry(world: World, index: int) -> dict[str, Any]:
    return world.entry(f"D{index:02}", index)


def item(index: int) -> str:
    return entry_key(RUN, entry_id(f"D{index:02}", index))


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
        ("UpdateItem", item(0)),
        ("Call", ""),
        ("UpdateItem", item(0)),
        ("UpdateItem", node_key(RUN, 1, Node(0, 0))),
    ]
    claim, outcome = (sent.fields for sent in world.wire.of("UpdateItem")[:2])
    assert {"owner", "fence", "called_until"} <= set(claim["ExpressionAttributeNames"].values())
    assert "g1_outcome" in outcome["ExpressionAttributeNames"].values()


def test_a_claim_says_whose_it_is_and_until_when(world: World) -> None:
    claims: list[dict[str, Any]] = []

    async def look(payload: Any, call: Call) -> None:
        claims.append(entry(world, 0))

    open_bank(world, 1, callback=look)
    work(world, 0)
    (claim,) = claims
    assert (claim["fence"], claim["g1_attempts"]) == (1, 1)
    assert claim["called_until"].startswith((DUE + INVOCATION).isoformat()[:19])
    assert claim["first_call"].startswith(DUE.isoformat()[:19])
    after = entry(world, 0)
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
    assert entry(world, 0)["g1_failed"]["error"] == "http_429"


def test_a_refusal_is_final(world: World) -> None:
    bank = open_bank(world, 2)
    bank.on_call("D00", 422)
    assert work(world, 0, 1) == []
    assert world.outcomes() == {Outcome.REJECTED: 1, Outcome.SUCCEEDED: 1}
    assert entry(world, 0)["g1_rejected"]["error"] == "http_422"


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
    assert entry(world, 0)["fence"] == 2


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
    assert entry(world, 0)["g1_failed"]["error"] == "never_arrived"


@pytest.mark.parametrize("answer", [500, 503, 422, Unanswered("timed out"), NotSent("refused")], ids=repr)
def test_a_target_that_cannot_tell_is_asked_a_few_times_and_then_it_is_unknown(world: World, answer: Any) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", LOST)
    bank.on_question("D00", then=answer)
    handle_all(world)
    assert (len(bank.calls), len(bank.questions)) == (1, MOST_QUESTIONS)
    assert world.outcome(0) is Outcome.UNKNOWN
    assert "the target could not tell" in entry(world, 0)["g1_unknown"]["reason"]


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


# --- zombies ---


def zombie(world: World, meanwhile: Any, outcome: int = 200) -> list[str]:
    """A worker calls; while its call is under way, `meanwhile` happens. Returns what that worker leaves."""
    bank = world.target
    assert isinstance(bank, Bank)
    happened = False

    async def send(request: Any) -> Any:
        nonlocal happened
        answer = await bank.send(request)
        if not happened:
            happened = True
            await meanwhile()
        return answer

    return world.work(world.batch(0), worker=world.worker(send), time=INVOCATION)


def test_a_late_answer_is_kept_and_settles_the_entry_if_nothing_has(world: World) -> None:
    bank = open_bank(world, 6)
    bank.on_call("D00", 200, NOTHING)
    bank.on_question("D00", 404, then=500)  # the bank has not seen it; later it cannot tell

    async def another() -> None:
        world.clock.set(DUE + INVOCATION + SETTLES)
        await world.worker().handle(world.batch(0, receives=2), world.clock.now() + INVOCATION)

    assert zombie(world, another) == []
    assert entry(world, 0)["late_answer"]["outcome"] == "succeeded"
    assert world.events.count(Action.ENTRY_LATE_ANSWER) == 1
    assert world.outcome(0) is Outcome.SUCCEEDED
    assert work(world, 0, receives=3) == []
    assert len(bank.calls) == 2
    assert len(bank.questions) == 1


def test_a_late_answer_does_not_undo_what_stands(world: World) -> None:
    bank = open_bank(world, 6)
    bank.on_call("D00", 200, 422)
    bank.on_question("D00", then=404)

    async def another() -> None:
        world.clock.set(DUE + INVOCATION + SETTLES)
        await world.worker().handle(world.batch(0, receives=2), world.clock.now() + INVOCATION)

    zombie(world, another)
    assert world.outcome(0) is Outcome.REJECTED
    assert entry(world, 0)["late_answer"]["outcome"] == "succeeded"
    assert entry(world, 0)["g1_outcome"] == "rejected"


def test_who_comes_while_a_call_is_under_way_does_not_call(world: World) -> None:
    bank = open_bank(world, 6)
    bank.on_question("D00", then=404)

    async def another() -> None:
        world.later(30 * SECOND)
        await world.worker().handle(world.batch(0, receives=2), world.clock.now() + INVOCATION)
        await world.worker().handle(world.batch(0), world.clock.now() + INVOCATION)

    assert zombie(world, another) == []
    assert len(bank.calls) == 1
    assert world.outcome(0) is Outcome.SUCCEEDED


# --- the ledger fails ---


def refuse(world: World, key: str, number: int, code: str = "ThrottlingException") -> None:
    """The `number`-th write of an item is refused."""
    made = 0

    def before(sent: Sent) -> None:
        nonlocal made
        if sent.operation == "UpdateItem" and sent.key == key:
            made += 1
            if made == number:
                raise ClientError({"Error": {"Code": code, "Message": "slow down"}}, "UpdateItem")

    world.wire.before = before


def test_an_entry_that_cannot_be_claimed_is_not_called(world: World) -> None:
    bank = open_bank(world, 3)
    batch = world.batch(0, 1, 2)
    refuse(world, item(1), 1)
    assert world.work(batch) == [batch[1]["messageId"]]
    assert bank.keys == ["D00", "D02"]
    assert work(world, 1, receives=2) == []
    assert bank.effects == dict.fromkeys(keys(3), 1)


def test_an_outcome_that_cannot_be_written_is_asked_for(world: World) -> None:
    bank = open_bank(world, 3)
    batch = world.batch(0, 1, 2)
    refuse(world, item(1), 2)
    assert world.work(batch) == [batch[1]["messageId"]]
    assert work(world, 1, receives=2) == []
    assert (bank.keys, len(bank.questions)) == (keys(3), 1)
    assert world.outcomes() == {Outcome.SUCCEEDED: 3}


def test_a_chunk_that_cannot_be_written_is_told_again_without_a_call(world: World) -> None:
    bank = open_bank(world, 3)
    bank.on_call("D01", 422)
    refuse(world, node_key(RUN, 1, Node(0, 0)), 1)
    assert len(work(world, 0, 1, 2)) == 3
    assert work(world, 0, 1, 2, receives=2) == []
    assert bank.keys == keys(3)
    assert world.outcomes() == {Outcome.SUCCEEDED: 2, Outcome.REJECTED: 1}
    assert entry(world, 1)["g1_rejected"]["error"] == "http_422"


# --- workers that die ---


@pytest.mark.parametrize("probe", [ask, None], ids=["probe", "no probe"])
@pytest.mark.parametrize("step", [Killed(), Done(Killed())], ids=["before", "after"])
def test_a_poisonous_entry_ends_by_itself_and_its_neighbours_are_called_once(
    world: World, probe: Any, step: Step
) -> None:
    bank = open_bank(world, 10, probe=probe)
    bank.on_call("D03", then=step)
    handle_all(world)
    assert world.run().state is RunState.COMPLETE
    if probe is None:
        expected, times = Outcome.UNKNOWN, 1
    elif isinstance(step, Done):
        expected, times = Outcome.SUCCEEDED, 1
    else:
        expected, times = Outcome.FAILED, 4
    assert world.outcome(3) is expected
    assert bank.times() == {**dict.fromkeys(keys(10), 1), "D03": times}
    assert max(bank.effects.values()) == 1
    assert all(world.outcome(index) is Outcome.SUCCEEDED for index in range(10) if index != 3)


def tell(world: World, *, takes_keys: bool, probe: bool) -> Bank:
    """One of each: well, refused, answer lost, never arrived, put off, booked late."""
    world.target = bank = Bank(world, takes_keys=takes_keys)
    options = {} if takes_keys else {"keys": None}
    job = world.declare(a_job(settles_within=SETTLES, **options), transfer)
    if probe:
        job.probe(ask)
    world.begin(6)
    bank.on_call("D01", 422)
    bank.on_call("D02", LOST)
    bank.on_call("D03", NOTHING)
    bank.on_call("D04", 429)
    bank.on_call("D05", late(60))
    return bank


#: Whether the target takes keys, whether there is a probe, and how many requests the ledger then gets.
KINDS = {"claims and probe": (False, True, 43), "claims": (False, False, 26), "keys": (True, False, 14)}
DEATHS = [
    pytest.param(takes_keys, probe, number, lost, id=f"{kind} {number} {lost}")
    for kind, (takes_keys, probe, requests) in KINDS.items()
    for number in range(1, requests + 1)
    for lost in ("request", "answer")
]


@pytest.mark.parametrize(("takes_keys", "probe", "requests"), KINDS.values(), ids=KINDS)
def test_the_stories_make_no_more_requests_than_are_killed(
    world: World, takes_keys: bool, probe: bool, requests: int
) -> None:
    tell(world, takes_keys=takes_keys, probe=probe)
    world.wire.reset()
    handle_all(world)
    assert sum(sent.service == "dynamodb" for sent in world.wire.sent) == requests


@pytest.mark.parametrize(("takes_keys", "probe", "number", "lost"), DEATHS)
def test_a_worker_that_dies_at_any_request_does_nothing_twice_and_leaves_nothing_open(
    world: World, takes_keys: bool, probe: bool, number: int, lost: str
) -> None:
    bank = tell(world, takes_keys=takes_keys, probe=probe)
    die(world, number, before=lost == "request")
    handle_all(world)
    world.wire.heal()
    assert world.run().state is RunState.COMPLETE
    assert world.events.count(Action.RUN_COMPLETE) == 1
    outcomes = [world.outcome(index) for index in range(6)]
    assert None not in outcomes
    assert max(bank.effects.values()) == 1
    for key, outcome in zip(keys(6), outcomes, strict=True):
        if bank.effects[key]:
            assert outcome in {Outcome.SUCCEEDED, Outcome.UNKNOWN}
        else:
            assert outcome in {Outcome.REJECTED, Outcome.FAILED, Outcome.UNKNOWN}
        if probe or takes_keys:
            assert outcome is not Outcome.UNKNOWN
    if not takes_keys and not probe:
        assert max(bank.times()[key] for key in ("D00", "D01", "D02", "D03", "D05")) == 1


def die(world: World, number: int, *, before: bool) -> None:
    """The process dies at the `number`-th request to the ledger from now on."""
    made, dead = 0, False

    def on_request(sent: Sent) -> None:
        nonlocal made, dead
        made += sent.service == "dynamodb"
        dead = dead or (before and made == number)
        if dead:
            raise Killed

    def on_answer(sent: Sent) -> None:
        nonlocal dead
        if sent.service == "dynamodb" and made == number:
            dead = True
            raise Killed

    world.wire.before, world.wire.after = on_request, on_answer


def test_a_worker_that_was_killed_goes_on_no_more(world: World) -> None:
    """The stories above rely on it."""
    bank = open_bank(world, 3)
    die(world, 4, before=False)
    with pytest.raises(Killed):
        work(world, 0, 1, 2)
    bury(world)
    world.runner.run(asyncio.sleep(0.01))
    assert bank.keys == ["D00"]
