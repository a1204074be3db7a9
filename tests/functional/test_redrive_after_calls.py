"""A redrive of entries whose earlier calls may have done something, with keys and without."""

from typing import Any

import pytest

from rollcall import NEVER_ARRIVED, Call, NeverArrived, Outcome, Retry, Unanswered
from rollcall.core.run import iso
from tests.functional.redrives import HOUR, PATIENT, again, ended, lines, troubled
from tests.functional.wire import Killed
from tests.functional.workers import WorkerKilled, killed_by
from tests.functional.world import DUE, World, a_job

# --- what earlier calls may have done ---


def test_since_when_a_call_is_unanswered_travels_in_manifest_and_message(world: World) -> None:
    troubled(world)
    since = iso(DUE)
    world.later(HOUR)
    world.redrive()
    assert {line.key: line.unanswered_since for line in lines(world)} == {"D01": None, "D03": None, "D05": since}
    assert {line.key: line.called_since for line in lines(world)} == {"D01": since, "D03": since, "D05": since}
    (message,) = [message for message, _ in world.sent() if (message.generation, message.key) == (2, "D05")]
    assert (message.unanswered_since, message.called_since) == (since, since)


@pytest.mark.parametrize(("hours", "called"), [(19, True), (21, False)])
def test_within_the_targets_window_an_unanswered_call_is_repeated_and_after_it_never(
    world: World, hours: int, called: bool
) -> None:
    troubled(world)
    world.later(hours * HOUR)
    assert again(world, outcomes=["unknown"]) == (["D05"] if called else [])
    assert world.outcomes() == {Outcome.SUCCEEDED if called else Outcome.UNKNOWN: 1}


def test_the_window_runs_from_the_first_generation_over_all_of_them(world: World) -> None:
    troubled(world)
    for _ in range(2):
        world.target.script("D05", *[Unanswered("cut off")] * 4)
        world.later(9 * HOUR)
        world.redrive(outcomes=["unknown"])
        world.drain()
        world.announce()
    assert world.failures()["D05"].unanswered_since == DUE
    world.later(9 * HOUR)
    assert again(world, outcomes=["unknown"]) == []
    assert world.failures()["D05"].outcome is Outcome.UNKNOWN


def test_answered_calls_of_an_earlier_generation_begin_the_window_as_well(world: World) -> None:
    """The target knows the key since then, and may forget it between two calls of this generation."""
    troubled(world)
    world.later(21 * HOUR)
    world.target.script("D01", Unanswered("cut off"))
    world.target.calls.clear()
    world.redrive(outcomes=["failed"])
    world.drain()
    assert world.target.times() == {"D01": 1}
    assert world.outcomes() == {Outcome.UNKNOWN: 1}


def test_a_dead_letter_of_a_later_generation_does_not_forget_the_unanswered_call(world: World) -> None:
    troubled(world)
    world.redrive(outcomes=["unknown"])
    world.target.script("D05", 503)
    (record,) = world.receive()
    assert world.work([record]) == [record["messageId"]], "answered, and put off"
    world.dead_letters([record])
    failure = world.failures()["D05"]
    assert (failure.outcome, failure.unanswered_since) == (Outcome.UNKNOWN, DUE)


# --- targets without keys ---


def claiming(world: World, found: Outcome | NeverArrived | None) -> list[str]:
    """A run on a target without keys, one call of which is never answered; returns who is asked about later on."""
    job, asked = a_job(breaker=PATIENT, keys=None), list[str]()
    world.declare(job)
    world.target.script("D01", Unanswered("cut off"))
    ended(world, 3)
    assert world.failures()["D01"].outcome is Outcome.UNKNOWN

    def probe(deposit: dict[str, Any], call: Call) -> Outcome | NeverArrived:
        del deposit
        asked.append(call.key)
        assert found is not None
        return found

    mended = world.declare(a_job(breaker=PATIENT, keys=None))
    if found is not None:
        mended.probe(probe)
    return asked


def test_without_a_probe_an_unknown_entry_stays_unknown_and_is_never_called(world: World) -> None:
    claiming(world, None)
    assert again(world) == []
    assert again(world) == []
    assert world.outcomes() == {Outcome.UNKNOWN: 1}


def test_with_a_probe_an_unknown_entry_is_asked_about_and_not_called(world: World) -> None:
    asked = claiming(world, Outcome.SUCCEEDED)
    assert again(world) == []
    assert asked == ["D01"]
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}


def test_what_never_arrived_is_called(world: World) -> None:
    asked = claiming(world, NEVER_ARRIVED)
    world.later(HOUR)
    assert again(world) == ["D01"]
    assert asked == ["D01"]
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}


@pytest.mark.parametrize("probed", [True, False], ids=["with probe", "without"])
def test_a_target_that_takes_no_keys_any_more_is_not_called_blindly_for_what_was_called_with_one(
    world: World, probed: bool
) -> None:
    """No claim stands for that call; what is known of it travels in the redrive's manifest."""
    world.declare(a_job(breaker=PATIENT, retry=Retry(retries=0)))
    world.target.script("D01", Unanswered("cut off"))
    ended(world, 3)
    without_keys = world.declare(a_job(breaker=PATIENT, keys=None))
    if probed:

        @without_keys.probe
        def probe(deposit: dict[str, Any], call: Call) -> Outcome:
            del deposit, call
            return Outcome.SUCCEEDED

    assert again(world) == []
    assert world.outcomes() == {Outcome.SUCCEEDED if probed else Outcome.UNKNOWN: 1}


def test_a_deploy_that_takes_keys_away_in_mid_run_makes_nobody_call_blindly(world: World) -> None:
    world.declare(a_job(breaker=PATIENT))
    world.begin(2)
    world.target.script("D00", Unanswered("cut off"))
    world.work(world.batch(0))
    world.declare(a_job(breaker=PATIENT, keys=None))
    world.work(world.batch(0, 1, receives=2))
    assert world.target.times()["D00"] == 1
    assert world.outcome(0) is Outcome.UNKNOWN


def test_a_call_before_the_target_took_keys_is_not_repeated_under_one(world: World) -> None:
    """Its effect, if there is one, is not known by a key."""
    claiming(world, None)
    world.declare(a_job(breaker=PATIENT))
    assert again(world) == []
    assert world.outcomes() == {Outcome.UNKNOWN: 1}


def test_a_run_that_began_with_claims_goes_on_with_claims_when_the_target_takes_keys(world: World) -> None:
    """A key that the bank sees for the first time protects from nothing that was called before."""
    world.declare(a_job(breaker=PATIENT, keys=None))
    world.begin(3)
    world.target.script("D00", Killed())
    with pytest.raises(Killed):
        world.work(world.batch(0))
    world.declare(a_job(breaker=PATIENT))
    world.work(world.batch(0, 1, receives=2))
    assert world.target.times() == {"D00": 1, "D01": 1}
    assert world.outcome(0) is Outcome.UNKNOWN


def test_what_may_have_been_done_under_a_key_is_not_called_again_without(world: World) -> None:
    """503 says nothing of what was done: with keys it is called again, with claims never on a guess."""
    world.declare(a_job(breaker=PATIENT, retry=Retry(retries=0)))
    world.target.script("D01", 503)
    ended(world, 3)
    world.declare(a_job(breaker=PATIENT, keys=None))
    world.redrive()
    world.work(world.batch(0))
    assert world.target.times()["D01"] == 1
    assert world.outcomes() == {Outcome.UNKNOWN: 1}


def test_a_redrive_goes_by_what_the_target_takes_when_it_begins(world: World) -> None:
    """Called by keys in the first generation, and in the second never: whom a worker's death passed by is called."""
    world.declare(a_job(breaker=PATIENT, retry=Retry(retries=0)))
    world.target.script("D01", 429)
    ended(world, 3)
    world.declare(a_job(breaker=PATIENT, keys=None))
    world.redrive()
    assert not world.run().keyed
    world.work(world.batch(0, receives=2))
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}


def test_a_claim_of_an_earlier_generation_does_not_vouch_for_a_call_under_a_key(world: World) -> None:
    """Claims, then keys in a redrive, then claims again in its middle: the call under a key may have been done."""
    world.declare(a_job(breaker=PATIENT, keys=None, retry=Retry(retries=0)))
    world.target.script("D01", 429)
    ended(world, 3)
    assert world.failures()["D01"].outcome is Outcome.FAILED
    world.declare(a_job(breaker=PATIENT, retry=Retry(retries=0)))
    world.target.calls.clear()
    world.target.script("D01", WorkerKilled())
    world.redrive()
    killed_by(world, world.batch(0))
    world.declare(a_job(breaker=PATIENT, keys=None, retry=Retry(retries=0)))
    world.work(world.batch(0, receives=2))
    assert world.target.times() == {"D01": 1}
    assert world.outcome(0) is Outcome.UNKNOWN
