"""Redrive: chosen entries of an ended run are settled again, counted and announced like the first time."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from rollcall import NEVER_ARRIVED, Breaker, Call, Entry, NeverArrived, Outcome, Overlap, Response, Retry, Unanswered
from rollcall.adapters import runs
from rollcall.adapters.manifests import Manifests
from rollcall.core.actions import Action
from rollcall.core.entry import ManifestEntry
from rollcall.core.errors import RollcallError
from rollcall.core.job import Job
from rollcall.core.run import Redrive, RunState, iso, run_id
from rollcall.engine.redriving import chosen
from tests.functional.wire import Killed, Sent
from tests.functional.world import DAY, DUE, LEASE, NAME, RUN, World, a_job, delivered, keys

TOMORROW = run_id(NAME, DUE + DAY)
PATIENT = Breaker(failures=1_000)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
#: What ends a call of these entries, until somebody mends it: D01 failed, D03 rejected, D05 unknown.
TROUBLES: dict[str, int | BaseException] = {"D01": 503, "D03": 404, "D05": Unanswered("cut off")}


def troubled(world: World, number: int = 8, **options: Any) -> None:
    """An announced run of which three entries did not succeed."""
    world.declare(a_job(breaker=PATIENT, **options))
    for key, trouble in TROUBLES.items():
        world.target.script(key, *[trouble] * (1 if trouble == 404 else 4))
    ended(world, number)


def ended(world: World, number: int = 8) -> None:
    world.begin(number)
    world.drain()
    world.announce()


def again(world: World, **choice: Any) -> list[str]:
    """The keys that a redrive calls, once each; the run has ended and is announced then."""
    world.target.calls.clear()
    world.redrive(**choice)
    world.drain()
    world.announce()
    assert set(world.target.times().values()) <= {1}
    return sorted(world.target.keys)


def lines(world: World) -> list[ManifestEntry]:
    """The manifest of the present generation."""
    run = world.run()
    return [line for chunk in range(run.tree.chunks) for line in world.manifests.read(run, chunk)]


# --- choosing ---


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({}, ["D01", "D03", "D05"]),
        ({"outcomes": ["failed"]}, ["D01"]),
        ({"outcomes": ["failed", "rejected"]}, ["D01", "D03"]),
        ({"outcomes": ["unknown"]}, ["D05"]),
        ({"errors": ["http_503", "http_404"]}, ["D01", "D03"]),
        ({"errors": ["unanswered"]}, ["D05"]),
        ({"keys": ["D03", "D05", "D00", "nobody"]}, ["D03", "D05"]),
        ({"outcomes": ["failed", "unknown"], "errors": ["http_503", "http_404"]}, ["D01"]),
        ({"outcomes": ["failed", "unknown"], "keys": ["D05", "D03"]}, ["D05"]),
        ({"outcomes": ["cancelled"]}, []),
        ({"errors": ["http_503"], "keys": ["D03"]}, []),
    ],
    ids=str,
)
def test_entries_are_chosen_by_conditions_that_all_hold(
    world: World, choice: dict[str, Any], called: list[str]
) -> None:
    troubled(world)
    assert again(world, **choice) == called
    assert [line.key for line in lines(world)] == called
    assert world.run().state is RunState.COMPLETE


def test_what_succeeded_cannot_be_chosen(world: World) -> None:
    troubled(world)
    with pytest.raises(ValueError, match="choose other outcomes"):
        world.redrive(outcomes=["succeeded"])


# --- a generation of its own ---


def test_a_redrive_is_counted_completed_and_announced_once_more(world: World) -> None:
    troubled(world)
    first = world.run()
    world.target.script("D03", 422)
    assert again(world) == ["D01", "D03", "D05"]
    run = world.run()
    assert (run.generation, run.state, run.total, run.redrive) == (2, RunState.COMPLETE, 3, Redrive())
    assert run.started_at > first.started_at
    assert world.outcomes() == {Outcome.SUCCEEDED: 2, Outcome.REJECTED: 1}
    assert world.events.count(Action.RUN_COMPLETE) == 2
    told = [(event["id"], event["generation"], event["total"], event["clean"]) for event in world.announcements()]
    assert told == [(f"{RUN}/1", 1, 8, False), (f"{RUN}/2", 2, 3, False)]
    world.announce()
    assert len(world.announcements()) == 2
    assert world.job_record().open == frozenset()


def test_a_generation_of_many_chunks_is_counted_by_a_tree_of_its_own(world: World) -> None:
    world.declare(a_job(breaker=PATIENT))
    for key in keys(26)[::2]:
        world.target.script(key, 404)
    ended(world, 26)
    assert again(world) == keys(26)[::2]
    assert world.run().tree.width(0) == 3
    assert world.outcomes() == {Outcome.SUCCEEDED: 13}
    assert world.announcements()[1]["clean"] is True


def test_the_first_generations_outcomes_stay_readable(world: World) -> None:
    troubled(world)
    again(world)
    second, first = world.run().generations
    assert (second.generation, first.generation, first.total) == (2, 1, 8)
    node = first.tree.chunk_of(0)[0]
    record = world.ledger.nodes(first, [node])[node]
    assert [record.outcome(position) for position in (0, 1, 3)] == [
        Outcome.SUCCEEDED,
        Outcome.FAILED,
        Outcome.REJECTED,
    ]
    assert world.manifests.read(first, 1)[0].key == "D05"
    assert world.entry("D01", 1)["g1_failed"]["reason"] == "HTTP 503: says 503"


def test_an_entrys_outcome_is_that_of_its_latest_generation(world: World) -> None:
    troubled(world)
    world.target.script("D03", 422)
    assert again(world, outcomes=["rejected", "unknown"]) == ["D03", "D05"]
    assert world.failures().keys() == {"D01", "D03"}
    world.target.script("D01", 404)
    assert again(world, outcomes=["failed"]) == ["D01"]
    found = world.failures()
    assert {key: (each.generation, each.outcome, each.error) for key, each in found.items()} == {
        "D01": (3, Outcome.REJECTED, "http_404"),
        "D03": (2, Outcome.REJECTED, "http_422"),
    }
    picked = chosen(world.ledger, world.manifests, world.run(), Redrive(errors=frozenset({"http_503"})))
    assert list(picked) == [], "D01 ended so in the first generation only"
    assert again(world) == ["D01", "D03"]
    assert again(world) == []
    assert world.failures() == {}


def test_a_later_generation_that_chooses_nobody_is_complete_at_once(world: World) -> None:
    ended(world)
    run = world.redrive()
    assert run is not None
    assert (run.generation, run.state, run.total) == (2, RunState.COMPLETE, 0)
    world.announce()
    assert [event["id"] for event in world.announcements()] == [f"{RUN}/1", f"{RUN}/2"]


def test_the_size_of_a_redrive_is_not_taken_for_that_of_a_report(world: World) -> None:
    troubled(world)
    again(world)
    assert world.job_record().last_total == 8


# --- the job is taken ---


def test_a_redrive_takes_the_job_and_others_wait_for_its_end(world: World) -> None:
    troubled(world)
    world.start(DUE + DAY)
    world.drain()
    world.announce(TOMORROW)
    world.redrive()
    record = world.job_record()
    assert (record.current, record.current_generation, record.open) == (RUN, 2, frozenset({RUN}))
    world.start(DUE + 2 * DAY)
    skipped = world.run(run_id(NAME, DUE + 2 * DAY))
    assert (skipped.state, skipped.reason) == (RunState.SKIPPED, f"{RUN} is not finished")


def test_a_start_that_looked_before_a_redrive_took_the_job_does_not_start_beside_it(world: World) -> None:
    """The run is the job's current one before and after: only its generation tells."""
    raced = False

    def a_redrive_comes_first(sent: Sent) -> None:
        nonlocal raced
        if sent.operation == "TransactWriteItems" and not raced:
            raced = True
            world.redrive()

    troubled(world)
    world.wire.before = a_redrive_comes_first
    assert world.start(DUE + DAY) is None
    assert world.run(TOMORROW).state is RunState.SKIPPED
    assert world.run().state is RunState.RUNNING


def test_a_redrive_that_looked_before_another_run_took_the_job_is_refused(world: World) -> None:
    raced = False

    def another_comes_first(sent: Sent) -> None:
        nonlocal raced
        if sent.operation == "TransactWriteItems" and not raced:
            raced = True
            world.start(DUE + DAY)

    troubled(world)
    world.wire.before = another_comes_first
    with pytest.raises(RollcallError, match=f"{TOMORROW} is under way; wait until it has ended"):
        world.redrive()
    assert world.run().generation == 1


def test_a_redrive_while_another_run_is_under_way_is_refused_and_changes_nothing(world: World) -> None:
    troubled(world)
    world.start(DUE + DAY)
    before = world.ledger_dump()
    with pytest.raises(RollcallError, match=f"{RUN} cannot be redriven: {TOMORROW} is under way; wait until"):
        world.redrive()
    assert world.ledger_dump() == before


def test_where_runs_may_overlap_a_redrive_may_too(world: World) -> None:
    troubled(world, overlap=Overlap.ALLOW)
    world.start(DUE + DAY)
    world.redrive()
    world.drain()
    assert [world.run(run).state for run in (RUN, TOMORROW)] == [RunState.COMPLETE] * 2
    assert world.outcomes() == {Outcome.SUCCEEDED: 3}
    assert world.outcomes(TOMORROW) == {Outcome.SUCCEEDED: 8}


def test_a_run_that_has_not_ended_cannot_be_redriven(world: World) -> None:
    world.begin(8)
    with pytest.raises(RollcallError, match="it is running; wait until it has ended"):
        world.redrive()


def test_a_run_whose_end_is_not_announced_cannot_be_redriven(world: World) -> None:
    world.begin(3)
    world.drain()
    with pytest.raises(RollcallError, match="its end is not announced yet; try again in a minute"):
        world.redrive()
    assert world.run().generation == 1


def test_the_transaction_itself_sees_that_the_end_is_not_announced(world: World) -> None:
    """Whatever was read before."""
    world.begin(3)
    world.drain()
    run = world.run()
    with pytest.raises(runs.Conflict):
        runs.redrive(world.ledger, run, run, world.job_record())


@pytest.mark.parametrize("state", ["refused", "skipped"])
def test_a_run_that_was_never_sealed_cannot_be_redriven(world: World, state: str) -> None:
    run = RUN
    if state == "refused":
        world.report = [ValueError("boom")]
        world.start()
    else:
        world.begin(3)
        world.start(DUE + DAY)
        run = TOMORROW
        world.drain()
        world.announce()
    world.announce(run)
    with pytest.raises(RollcallError, match=f"it is {state} and has no manifest; start the job again"):
        world.redrive(run)


def test_a_generation_that_there_is_not_cannot_be_gone_by(world: World) -> None:
    troubled(world)
    with pytest.raises(RollcallError, match="it has no generation 2; its latest is 1"):
        world.redrive(generation=2)


def test_a_run_that_there_is_not_cannot_be_redriven(world: World) -> None:
    with pytest.raises(RollcallError, match=f"there is no run {RUN}"):
        world.redrive(generation=1)


def test_an_announcer_that_is_late_does_not_close_what_a_redrive_has_opened(world: World) -> None:
    """Else nobody would look after the new generation."""
    redriven = False

    def a_redrive_comes_first(sent: Sent) -> None:
        nonlocal redriven
        if sent.operation == "TransactWriteItems" and not redriven:
            redriven = True
            world.redrive()

    troubled_until_the_end(world)
    world.wire.before = a_redrive_comes_first
    world.announce()
    assert world.run().generation == 2
    assert world.job_record().open == {RUN}


def troubled_until_the_end(world: World) -> None:
    world.declare(a_job(breaker=PATIENT))
    world.target.script("D01", 404)
    world.begin(3)
    world.drain()


def test_the_watchdog_does_not_close_what_a_redrive_has_opened(world: World) -> None:
    redriven = False

    def a_redrive_comes_first(sent: Sent) -> None:
        nonlocal redriven
        if sent.operation == "TransactWriteItems" and world.run().announced and not redriven:
            redriven = True
            world.redrive()

    troubled_until_the_end(world)
    world.wire.before = lambda sent: die(sent, "TransactWriteItems")
    with pytest.raises(Killed):
        world.announce()
    world.wire.heal()
    world.wire.before = a_redrive_comes_first
    world.watchdog()
    assert world.run().generation == 2
    assert world.job_record().open == {RUN}


def die(sent: Sent, operation: str) -> None:
    if sent.operation == operation:
        raise Killed(str(sent))


# --- delivered twice, killed ---


@pytest.mark.parametrize("ended_by_then", [False, True])
def test_a_redrive_that_is_delivered_twice_opens_one_generation(world: World, ended_by_then: bool) -> None:
    troubled(world)
    world.target.calls.clear()
    world.redrive(generation=1)
    if ended_by_then:
        world.drain()
        world.announce()
    assert world.redrive(generation=1) is None
    world.drain()
    assert world.run().generation == 2
    assert world.target.times() == {"D01": 1, "D03": 1, "D05": 1}


def test_of_two_redrives_at_once_one_wins(world: World) -> None:
    raced = False

    def the_other_comes_first(sent: Sent) -> None:
        nonlocal raced
        if sent.operation == "TransactWriteItems" and not raced:
            raced = True
            world.redrive(generation=1, outcomes=["failed"])

    troubled(world)
    world.wire.before = the_other_comes_first
    assert world.redrive(generation=1, outcomes=["rejected"]) is None
    world.drain()
    assert [line.key for line in lines(world)] == ["D01"]
    assert world.run().generation == 2


REQUESTS = 22


def test_a_redrive_makes_no_more_requests_than_these_stories_kill(world: World) -> None:
    troubled(world)
    world.wire.sent.clear()
    world.redrive()
    assert len(world.wire.sent) <= REQUESTS


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("number", range(1, REQUESTS + 1))
def test_a_redrive_that_dies_is_taken_over_and_loses_and_doubles_nothing(world: World, number: int, lost: str) -> None:
    troubled(world)
    world.target.calls.clear()
    (world.wire.kill_before if lost == "request" else world.wire.kill_after)(number)
    with suppress(Killed):
        world.redrive(generation=1)
    world.wire.heal()
    world.later(LEASE)
    world.redrive(generation=1)  # Lambda delivers it again
    world.drain()
    run = world.run()
    assert (run.generation, run.state, run.total) == (2, RunState.COMPLETE, 3)
    assert world.outcomes() == {Outcome.SUCCEEDED: 3}
    assert world.target.times().keys() == {"D01", "D03", "D05"}
    assert world.events.count(Action.RUN_COMPLETE) == 2


# --- keys ---


def test_both_generations_call_with_the_same_idempotency_key(world: World) -> None:
    troubled(world)
    first = {call.key: call.idempotency_key for call in world.target.calls}
    again(world)
    assert {call.key: call.idempotency_key for call in world.target.calls}.items() <= first.items()


def test_a_business_key_of_an_entry_stays_its_own(world: World) -> None:
    world.declare(a_job(moves_money=True))
    world.target.script("D00", 404)
    world.report = [Entry("D00", {}, "invoice 7")]
    world.start()
    world.drain()
    world.announce()
    assert again(world) == ["D00"]
    assert {call.idempotency_key for call in world.target.calls} == {"invoice 7"}


def test_new_keys_are_only_for_entries_that_were_answered_for_sure(world: World) -> None:
    """D03's 404 is sure; D01's 503 and D05's silence may hide an effect."""
    troubled(world)
    first = {call.key: call.idempotency_key for call in world.target.calls}
    assert again(world, new_key=True) == ["D03"]
    (call,) = world.target.calls
    assert call.idempotency_key == f"{first['D03']}-g2"
    assert world.events.count(Action.ENTRY_LEFT_OUT) == 2
    assert world.failures().keys() == {"D01", "D05"}


def test_an_indefinite_answer_of_any_generation_forbids_a_new_key(world: World) -> None:
    """The first generation's 503 may hide an effect under the very key that the second one's 404 is for."""
    troubled(world)
    world.target.script("D01", 404)
    world.target.script("D05", 404)
    again(world)
    assert {key: each.error for key, each in world.failures().items()} == {"D01": "http_404", "D05": "http_404"}
    assert again(world, new_key=True) == []


def test_a_new_key_begins_anew(world: World) -> None:
    troubled(world)
    world.target.script("D03", 404)
    again(world, keys=["D03"], new_key=True)
    (line,) = lines(world)
    assert (line.unanswered_since, line.called_since, line.indefinite) == (None, None, False)
    assert again(world, keys=["D03"], new_key=True) == ["D03"]
    assert world.target.calls[0].idempotency_key.endswith("-g2-g3")


@pytest.mark.parametrize("own", ["x" * 1_024, "é" * 1_024])
def test_a_new_key_for_a_long_one_is_a_key_that_can_be_used(world: World, own: str) -> None:
    world.declare(a_job())
    world.target.script("D00", 404)
    world.report = [Entry("D00", {}, own)]
    world.start()
    world.drain()
    world.announce()
    assert again(world, new_key=True) == ["D00"]
    assert len(world.target.calls[0].idempotency_key) == 64


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


# --- entries that were rejected before any call ---


class Deposit(BaseModel):
    amount: int


async def put_deposit(deposit: Deposit, call: Call) -> None:
    await call.http.put(f"/deposits/{call.key}", json=deposit.model_dump())


async def put_anything(deposit: Any, call: Call) -> None:
    await call.http.put(f"/deposits/{call.key}", json=deposit)


def rejected_first(world: World, *report: Entry, job: Job | None = None) -> None:
    world.declare(job or a_job(), put_deposit)
    world.report = report
    world.start()
    world.drain()
    world.announce()


def test_what_was_invalid_is_checked_by_the_job_as_it_is_today(world: World) -> None:
    rejected_first(world, Entry("D00", {"amount": "much"}), Entry("D01", {"amount": 1}))
    assert again(world) == []
    assert world.failures()["D00"].outcome is Outcome.REJECTED
    world.declare(a_job(), put_anything)
    assert again(world) == ["D00"]
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}


def test_an_invalid_entry_keeps_its_business_key(world: World) -> None:
    rejected_first(world, Entry("D00", {"amount": "much"}, "invoice 7"))
    world.declare(a_job(moves_money=True), put_anything)
    assert again(world) == ["D00"]
    assert world.target.calls[0].idempotency_key == "invoice 7"


def test_money_is_never_moved_without_a_business_key(world: World) -> None:
    rejected_first(world, Entry("D00", {"amount": 1}), job=a_job(moves_money=True))
    assert again(world) == []
    assert again(world, new_key=True) == []
    assert "no idempotency key of its own" in (world.failures()["D00"].reason or "")


@pytest.mark.parametrize(
    "entry",
    [
        Entry("D00", {"amount": "x" * 140_000}),
        Entry("D00", {"amount": 1}, ""),
        Entry("D00", {"amount": 1}, "x" * 2_000),
    ],
    ids=["its payload is not kept", "an empty key", "a long key"],
)
def test_what_the_source_gave_and_nobody_kept_stays_rejected_for_its_reason(world: World, entry: Entry) -> None:
    rejected_first(world, entry)
    reason = world.failures()["D00"].reason
    world.declare(a_job(), put_anything)
    assert again(world) == []
    assert world.failures()["D00"].reason == reason


def test_an_entry_without_a_key_is_listed_once_and_not_settled_again(world: World) -> None:
    rejected_first(world, Entry(None, {"amount": 1}), Entry("D01", {"amount": "much"}))
    for _ in range(3):
        again(world)
        assert [line.key for line in lines(world)] == ["D01"]
        assert world.failures().keys() == {None, "D01"}


# --- two generations side by side ---


def test_a_worker_that_remembers_the_first_generation_drops_nothing_of_the_second(world: World) -> None:
    world.declare(a_job(breaker=PATIENT))
    world.target.script("D01", 404)
    worker = world.worker()
    world.begin(3)
    world.drain(worker)
    world.announce()
    world.redrive()
    world.drain(worker)
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}
    assert world.events.count(Action.MESSAGE_DROPPED) == 0


def test_leftover_messages_of_the_first_generation_are_dropped_without_effect(world: World) -> None:
    world.declare(a_job(breaker=PATIENT))
    for key in keys(3):
        world.target.script(key, 404)
    world.begin(3)
    leftover = world.messages(0, 1, 2)
    world.drain()
    world.announce()
    world.redrive()
    world.target.calls.clear()
    before = world.ledger_dump()
    assert world.work([delivered(message, receives=2) for message in leftover]) == []
    assert world.target.calls == []
    assert world.ledger_dump() == before
    assert world.events.count(Action.MESSAGE_DROPPED) == 3
    world.drain()
    assert world.outcomes() == {Outcome.SUCCEEDED: 3}


@pytest.mark.parametrize("late", [Response(200, {}, b""), Response(404, {}, b"late")], ids=["well", "refused"])
def test_a_late_answer_of_the_first_generation_changes_nothing_of_the_seconds_count(
    world: World, late: Response
) -> None:
    """A worker hangs in its call while its entry is settled by the dead letters, redriven, and still open."""
    world.declare(a_job(breaker=PATIENT))
    world.begin(3)
    batch = world.batch(0)

    async def hang(request: object) -> Response:
        del request
        await asyncio.sleep(0)
        meanwhile()
        return late

    def meanwhile() -> None:
        world.dead_letters(batch)
        for index in (1, 2):
            world.dead_letters(world.batch(index))
        world.announce()
        world.redrive(outcomes=["unknown"])

    world.work(batch, worker=world.worker(hang))
    run = world.run()
    assert (run.generation, run.state, run.total) == (2, RunState.RUNNING, 3)
    assert world.outcomes() == {}
    world.drain()
    assert world.outcomes() == {Outcome.SUCCEEDED: 3}
    assert world.events.count(Action.RUN_COMPLETE) == 2


def test_the_manifest_of_an_earlier_generation_is_never_written_over(world: World) -> None:
    troubled(world)
    before = set(world.manifest_keys())
    again(world)
    assert before < set(world.manifest_keys())
    assert Manifests(world.clients.s3, "manifests").read(world.run().generations[1], 0)[0].key == "D00"
