"""Redrive: chosen entries of an ended run are settled again, counted and announced like the first time."""

from typing import Any

import pytest

from rollcall import Entry, Outcome
from rollcall.core.actions import Action
from rollcall.core.run import Redrive, RunState
from rollcall.engine.fan_out.redrive import chosen
from tests.functional.redrives import PATIENT, again, ended, lines, troubled
from tests.functional.world import RUN, World, a_job, keys

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
