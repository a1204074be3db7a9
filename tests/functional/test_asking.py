"""Targets that take keys: called again with the same key while that is safe, then asked, then left unknown."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollcall import NEVER_ARRIVED, Call, Keys, Outcome, Unanswered
from rollcall.core.actions import Action
from rollcall.core.job import Callback, Found, Probe
from rollcall.core.run import RunState, iso
from rollcall.engine.worker.attempts import MOST_QUESTIONS
from tests.functional.bank import (
    INVOCATION,
    LOST,
    NOTHING,
    SETTLES,
    Bank,
    Done,
    Step,
    ask,
    entry_of,
    handle_all,
    transfer,
    work,
)
from tests.functional.wire import Killed
from tests.functional.world import DUE, World, a_job, delivered, keys

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def open_bank(
    world: World, number: int, *, probe: Probe | None = ask, callback: Callback = transfer, **options: Any
) -> Bank:
    """A run of `number` transfers by a bank that takes keys."""
    world.target = bank = Bank(world, takes_keys=True)
    job = world.declare(a_job(**{"settles_within": SETTLES, **options}), callback)
    if probe is not None:
        job.probe(probe)
    world.begin(number)
    return bank


def redriven(world: World, since: datetime) -> list[str]:
    """A redrive's message of an entry that may have been called without an answer."""
    message = replace(world.message(0), unanswered_since=iso(since))
    return world.work([delivered(message)], time=INVOCATION)


# --- attempts are used up ---


@pytest.mark.parametrize(
    ("last", "outcome", "effects"),
    [
        pytest.param(LOST, Outcome.SUCCEEDED, 1, id="it arrived"),
        pytest.param(NOTHING, Outcome.FAILED, 0, id="it never arrived"),
        pytest.param(503, Outcome.FAILED, 0, id="nor did an earlier one"),
    ],
)
def test_an_entry_whose_attempts_are_used_up_is_asked_about(
    world: World, last: Step, outcome: Outcome, effects: int
) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", NOTHING, 503, NOTHING, then=last)
    handle_all(world)
    assert len(bank.calls) == 4
    assert world.outcome(0) is outcome
    assert bank.effects["D00"] == effects
    assert bank.questions


def test_what_the_bank_refused_is_found_out_by_asking(world: World) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", then=NOTHING)
    bank.refused.add("D00")
    handle_all(world)
    assert (len(bank.calls), len(bank.questions)) == (4, 1)
    assert world.outcome(0) is Outcome.REJECTED
    assert entry_of(world, 0)["g1_rejected"]["error"] == "probe"


def test_never_arrived_is_believed_once_an_effect_would_show(world: World) -> None:
    bank = open_bank(world, 1, retry=replace(a_job().retry, retries=0))
    bank.on_call("D00", then=NOTHING)
    work(world, 0)
    world.later(2 * SECOND)
    work(world, 0, receives=2)
    assert world.outcome(0) is None
    assert world.waits()[world.batch(0)[0]["receiptHandle"]] == SETTLES // SECOND
    assert world.chunk().asking == {0}
    world.later(SETTLES - SECOND)
    work(world, 0, receives=3)
    assert world.outcome(0) is None
    world.later(SECOND)
    assert work(world, 0, receives=4) == []
    assert world.outcome(0) is Outcome.FAILED
    assert entry_of(world, 0)["g1_failed"]["error"] == "never_arrived"
    assert (len(bank.calls), len(bank.questions)) == (1, 3)


def test_without_a_probe_it_is_unknown(world: World) -> None:
    bank = open_bank(world, 1, probe=None)
    bank.on_call("D00", 503, NOTHING, then=503)
    handle_all(world)
    assert len(bank.calls) == 4
    assert world.outcome(0) is Outcome.UNKNOWN


def test_nobody_is_asked_where_every_attempt_was_answered(world: World) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", then=503)
    handle_all(world)
    assert (len(bank.calls), bank.questions) == (4, [])
    assert world.outcome(0) is Outcome.FAILED


def test_nobody_is_asked_while_it_may_be_called_again(world: World) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", LOST, LOST)
    handle_all(world)
    assert (len(bank.calls), bank.questions) == (3, [])
    assert len({call.idempotency_key for call in bank.calls}) == 1
    assert world.outcome(0) is Outcome.SUCCEEDED
    assert bank.effects == {"D00": 1}


def test_a_target_that_cannot_tell_is_asked_a_few_times_and_then_it_is_unknown(world: World) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", then=LOST)
    bank.on_question("D00", then=Unanswered("timed out"))
    handle_all(world)
    assert (len(bank.calls), len(bank.questions)) == (4, MOST_QUESTIONS)
    assert world.outcome(0) is Outcome.UNKNOWN


def test_a_probe_that_kills_its_worker_ends_without_another_call(world: World) -> None:
    async def deadly(payload: Any, call: Call) -> Any:
        del payload, call
        world.wire.kill_before(1)
        raise Killed

    bank = open_bank(world, 2, probe=deadly)
    bank.on_call("D00", then=LOST)
    handle_all(world)
    assert (world.outcome(0), world.outcome(1)) == (Outcome.UNKNOWN, Outcome.SUCCEEDED)
    assert bank.times() == {"D00": 4, "D01": 1}
    assert world.run().state is RunState.COMPLETE


@pytest.mark.parametrize("probe", [ask, None], ids=["probe", "no probe"])
@pytest.mark.parametrize("step", [Killed(), Done(Killed())], ids=["before", "after"])
def test_a_poisonous_entry_ends_by_itself_and_its_neighbours_are_called_with_one_key(
    world: World, probe: Probe | None, step: Step
) -> None:
    bank = open_bank(world, 10, probe=probe)
    bank.on_call("D03", then=step)
    handle_all(world)
    assert world.run().state is RunState.COMPLETE
    expected = Outcome.SUCCEEDED if isinstance(step, Done) else Outcome.FAILED
    assert world.outcome(3) is (Outcome.UNKNOWN if probe is None else expected)
    assert all(world.outcome(index) is Outcome.SUCCEEDED for index in range(10) if index != 3)
    assert max(bank.effects.values()) == 1
    assert len({(call.key, call.idempotency_key) for call in bank.calls}) == 10


# --- a conflict ---


def test_a_conflict_with_a_call_of_ours_is_asked_again_with_the_same_key(world: World) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", NOTHING, 409, 409)
    handle_all(world)
    assert len(bank.calls) == 4
    assert len({call.idempotency_key for call in bank.calls}) == 1
    assert world.outcome(0) is Outcome.SUCCEEDED


def test_a_conflict_that_stays_is_asked_about(world: World) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", NOTHING, then=409)
    handle_all(world)
    assert len(bank.calls) == 4
    assert bank.questions
    assert world.outcome(0) is Outcome.FAILED, "it never arrived"


def test_a_conflict_with_nothing_of_ours_is_a_refusal(world: World) -> None:
    bank = open_bank(world, 1)
    bank.on_call("D00", 503, then=409)
    handle_all(world)
    assert len(bank.calls) == 2
    assert world.outcome(0) is Outcome.REJECTED


# --- the idempotency window ---

WINDOW = Keys(window=HOUR)
#: What a call may take: one that begins later could reach the target after the window.
CALL = timedelta(seconds=10)


@pytest.mark.parametrize("receives", [2, 3])
def test_within_the_window_an_unanswered_entry_is_called_again(world: World, receives: int) -> None:
    bank = open_bank(world, 1, keys=WINDOW)
    bank.on_call("D00", LOST)
    work(world, 0)
    world.clock.set(DUE + HOUR - CALL)
    assert work(world, 0, receives=receives) == []
    assert (len(bank.calls), bank.questions) == (2, [])
    assert world.outcome(0) is Outcome.SUCCEEDED


def test_after_the_window_it_is_only_asked(world: World) -> None:
    bank = open_bank(world, 1, keys=WINDOW)
    bank.on_call("D00", LOST)
    work(world, 0)
    world.clock.set(DUE + HOUR - CALL + SECOND)
    assert work(world, 0, receives=2) == []
    assert (len(bank.calls), len(bank.questions)) == (1, 1)
    assert world.outcome(0) is Outcome.SUCCEEDED


def test_after_the_window_and_without_a_probe_it_is_unknown(world: World) -> None:
    bank = open_bank(world, 1, keys=WINDOW, probe=None)
    bank.on_call("D00", LOST)
    work(world, 0)
    world.later(HOUR)
    assert work(world, 0, receives=2) == []
    assert len(bank.calls) == 1
    assert world.outcome(0) is Outcome.UNKNOWN
    assert "key may be forgotten" in entry_of(world, 0)["g1_unknown"]["reason"]


def test_after_the_window_what_never_arrived_is_called_again(world: World) -> None:
    bank = open_bank(world, 1, keys=WINDOW)
    bank.on_call("D00", NOTHING)
    work(world, 0)
    world.later(HOUR)
    work(world, 0, receives=2)
    assert len(bank.calls) == 1
    world.later(SETTLES)
    assert work(world, 0, receives=3) == []
    assert (len(bank.calls), bank.effects["D00"]) == (2, 1)
    assert world.outcome(0) is Outcome.SUCCEEDED


def test_after_the_window_what_a_dead_worker_may_have_called_is_only_asked(world: World) -> None:
    bank = open_bank(world, 1, keys=WINDOW)
    bank.on_call("D00", Done(Killed()))
    with pytest.raises(Killed):
        work(world, 0)
    world.wire.heal()
    world.later(HOUR)
    assert work(world, 0, receives=2) == []
    assert (len(bank.calls), len(bank.questions)) == (1, 1)
    assert world.outcome(0) is Outcome.SUCCEEDED


def test_after_the_window_what_was_answered_is_called(world: World) -> None:
    bank = open_bank(world, 1, keys=WINDOW)
    bank.on_call("D00", 429)
    work(world, 0)
    world.later(HOUR)
    assert work(world, 0, receives=2) == []
    assert (len(bank.calls), bank.questions) == (2, [])


def test_the_window_begins_when_the_entry_was_first_received(world: World) -> None:
    bank = open_bank(world, 1, keys=WINDOW)
    bank.on_call("D00", LOST)
    first = DUE + 2 * HOUR
    world.clock.set(first)
    for receives in (1, 2):
        (record,) = world.batch(0, receives=receives)
        record["attributes"]["ApproximateFirstReceiveTimestamp"] = str(int(first.timestamp() * 1_000))
        world.work([record], time=INVOCATION)
        world.later(HOUR / 2)
    assert (len(bank.calls), bank.questions) == (2, [])


@pytest.mark.parametrize("arrived", [True, False])
def test_a_redriven_entry_whose_key_may_be_forgotten_is_only_asked(world: World, arrived: bool) -> None:
    bank = open_bank(world, 1)
    if arrived:
        bank.on_question("D00", then=None)
        bank.refused.add("D00")
    left = redriven(world, DUE - 21 * HOUR)
    assert bank.calls == []
    assert len(bank.questions) == 1
    assert bool(left) is not arrived
    assert world.outcome(0) is (Outcome.REJECTED if arrived else None)


def test_a_redriven_entry_whose_key_may_be_forgotten_stays_unknown_without_a_probe(world: World) -> None:
    bank = open_bank(world, 1, probe=None)
    assert redriven(world, DUE - 21 * HOUR) == []
    assert bank.calls == []
    assert world.outcome(0) is Outcome.UNKNOWN


def test_a_redriven_entry_whose_key_is_remembered_is_called_with_it(world: World) -> None:
    bank = open_bank(world, 1)
    key = world.message(0)
    assert redriven(world, DUE - 19 * HOUR) == []
    assert (bank.keys, bank.questions) == (keys(1), [])
    assert bank.calls[0].idempotency_key.startswith(key.run)
    assert world.outcome(0) is Outcome.SUCCEEDED


def test_a_redriven_entry_that_is_answered_badly_ends_unknown_for_its_earlier_call(world: World) -> None:
    bank = open_bank(world, 1, probe=None, retry=replace(a_job().retry, retries=0))
    bank.on_call("D00", then=503)
    assert redriven(world, DUE - HOUR) == []
    assert world.outcome(0) is Outcome.UNKNOWN
    assert world.events.count(Action.ENTRY_UNKNOWN) == 1


# --- settled while it was asked about ---


@pytest.mark.parametrize("number", [1, 2])
def test_an_entry_that_its_dead_letter_settles_while_it_is_asked_about_is_not_called(world: World, number: int) -> None:
    """A question may take as long as a call, and another message of the entry waits in no queue's group with it."""

    async def while_it_is_settled(payload: Any, call: Call) -> Found:
        del payload, call
        world.dead_letters(world.batch(0, receives=1_000))
        world.later(timedelta(seconds=20))
        return NEVER_ARRIVED

    bank = open_bank(world, number, probe=while_it_is_settled, settles_within=timedelta(0))
    asked = replace(world.message(0), unanswered_since=iso(DUE - 25 * HOUR))
    assert world.work([delivered(asked, receives=2)], time=INVOCATION) == []
    assert bank.calls == []
    assert world.outcome(0) is Outcome.UNKNOWN
    assert world.chunk().begun == frozenset()
