"""Verifying: every entry that is not settled is named, and so is everything that should never be."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rollcall import Outcome
from rollcall.adapters.ledger import chunk_updates
from rollcall.adapters.ledger.chunk_updates import Batch
from rollcall.adapters.ledger.records import node_key
from rollcall.adapters.ledger.update import Update
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunState
from rollcall.core.tree import Node
from rollcall.engine.runs.verification import (
    Inconsistency,
    Known,
    Missing,
    Wrong,
    count_again,
    verify,
    without_manifest,
)
from tests.functional.wire import Killed, Sent
from tests.functional.world import RUN, World, a_job, entries, keys

SECOND = timedelta(seconds=1)
ROOT = Node(2, 0)


def missing(world: World) -> dict[int, tuple[str | None, Known, int]]:
    """What of each entry that is not settled is known, by index."""
    found = verify(world.ledger, world.manifests, world.run())
    return {each.index: (each.key, each.known, each.attempts) for each in found if isinstance(each, Missing)}


def wrong(world: World) -> list[tuple[Wrong, str, str]]:
    found = verify(world.ledger, world.manifests, world.run())
    return [(each.wrong, each.place, each.said) for each in found if isinstance(each, Inconsistency)]


def known(world: World) -> dict[int, Known]:
    return {index: what for index, (_, what, _) in missing(world).items()}


def settle(world: World, chunk: int, *positions: int, outcome: Outcome = Outcome.SUCCEEDED) -> None:
    now = world.clock.now()
    chunk_updates.settle(world.ledger, world.run(), Node(0, chunk), Batch(dict.fromkeys(positions, outcome)), now)


def say(world: World, chunk: int, batch: Batch) -> None:
    chunk_updates.settle(world.ledger, world.run(), Node(0, chunk), batch, world.clock.now())


def change(world: World, node: Node, *, add: dict[str, list[int]] | None = None, **discard: list[int]) -> None:
    """Change a node's sets behind everybody's back."""
    update = Update().set(expires_at=1)
    for name, members in (add or {}).items():
        update.add(name, members)
    for name, members in discard.items():
        update.discard(name, members)
    update.send(world.clients.dynamodb, "ledger", node_key(RUN, world.run().generation, node))


def a_complete_run(world: World, number: int = 12) -> None:
    world.begin(number)
    world.drain()
    assert world.run().state is RunState.COMPLETE
    assert (missing(world), wrong(world)) == ({}, [])


# --- what is missing ---


def test_of_a_run_that_is_complete_nothing_is_missing_or_wrong(world: World) -> None:
    world.target.script("D03", 422)
    a_complete_run(world, 50)
    assert world.outcomes()[Outcome.REJECTED] == 1


def test_an_empty_run_is_settled(world: World) -> None:
    world.report = []
    world.start()
    assert (missing(world), wrong(world)) == ({}, [])


def test_what_waits_on_the_queue_is_named_with_its_key(world: World) -> None:
    world.begin(12)
    world.work(world.batch(*range(10)))
    assert missing(world) == {10: ("D10", Known.WAITING, 0), 11: ("D11", Known.WAITING, 0)}
    assert wrong(world) == []


def test_what_was_never_sent_is_told_from_what_waits(world: World) -> None:
    world.declare(a_job(window=5))
    world.start()
    assert known(world) == dict.fromkeys(range(5), Known.WAITING) | dict.fromkeys(range(5, 12), Known.NEVER_SENT)


def test_what_a_dispatch_that_died_may_have_sent_is_in_doubt(world: World) -> None:
    def die(sent: Sent) -> None:
        if sent.operation == "SendMessageBatch":
            raise Killed(str(sent))

    world.report = entries(3)
    world.wire.before = die
    with pytest.raises(Killed):
        world.start()
    world.wire.heal()
    assert known(world) == dict.fromkeys(range(3), Known.IN_DOUBT)


def test_what_the_chunk_says_of_an_entry_is_told(world: World) -> None:
    world.begin(5)
    say(world, 0, Batch(held=[0]))
    say(world, 0, Batch(asking=[1], attempts={1: 1}))
    chunk_updates.begin(world.ledger, world.run(), Node(0, 0), [2])
    say(world, 0, Batch(attempts={3: 2}))
    assert missing(world) == {
        0: ("D00", Known.HELD, 0),
        1: ("D01", Known.ASKING, 1),
        2: ("D02", Known.BEGUN, 0),
        3: ("D03", Known.TRIED, 2),
        4: ("D04", Known.WAITING, 0),
    }
    assert wrong(world) == []


def test_an_entry_that_failed_and_waits_for_another_attempt_has_used_one_up(world: World) -> None:
    world.begin(1)
    world.target.script("D00", 503)
    world.work(world.batch(0))
    assert missing(world) == {0: ("D00", Known.TRIED, 1)}


def test_the_latest_generation_is_verified(world: World) -> None:
    world.target.script("D03", 422)
    world.begin(12)
    world.drain()
    world.announce()
    world.redrive()
    assert missing(world) == {0: ("D03", Known.WAITING, 0)}
    world.drain()
    assert (missing(world), wrong(world)) == ({}, [])


@pytest.mark.parametrize("cancelled", ["before it was sent", "on the queue"])
def test_a_cancelled_run_is_consistent_though_nobody_says_why_of_its_entries(world: World, cancelled: str) -> None:
    world.declare(a_job(window=5 if cancelled == "before it was sent" else 50_000))
    world.start()
    world.cancel()
    world.drain()
    world.later(timedelta(minutes=16))
    world.watchdog()
    assert world.run().state is RunState.CANCELLED
    assert (missing(world), wrong(world)) == ({}, [])


# --- runs without a manifest ---


def test_a_run_that_was_refused_says_so(world: World) -> None:
    world.report = [ValueError("boom")]
    world.start()
    said = without_manifest(world.run())
    assert said is not None
    assert said.startswith("it is refused and has no manifest: nobody was called (")
    assert "the source failed after 0 entries: ValueError" in said
    with pytest.raises(RollcallError, match="is not sealed"):
        missing(world)


@pytest.mark.parametrize("state", ["queued", "enumerating"])
def test_a_run_that_is_not_sealed_yet_says_so(world: World, state: str) -> None:
    world.begin(1)
    world.tamper(state=state)
    Update().remove("nonce").send(world.clients.dynamodb, "ledger", f"run#{RUN}")
    expected = f"it is {state} and has no manifest yet: nobody was called in generation 1"
    assert without_manifest(world.run()) == expected


@pytest.mark.parametrize("state", ["skipped", "missed"])
def test_a_run_that_never_was_says_so(world: World, state: str) -> None:
    world.begin(1)
    world.tamper(state=state)
    Update().remove("nonce").send(world.clients.dynamodb, "ledger", f"run#{RUN}")
    assert without_manifest(world.run()) == f"it is {state} and has no manifest: nobody was called"


def test_a_sealed_run_has_a_manifest(world: World) -> None:
    assert without_manifest(world.begin(1)) is None


# --- what should never be ---


@pytest.mark.parametrize(
    "name", ["settled", "begun", "held", "asking", "tried1", "unanswered", "indefinite", "failed", "cancelled"]
)
def test_a_position_outside_of_its_chunk_is_told(world: World, name: str) -> None:
    a_complete_run(world)
    change(world, Node(0, 2), add={name: [2]} | ({"settled": [2]} if name in {"failed", "cancelled"} else {}))
    told = "attempts" if name == "tried1" else name
    assert (Wrong.OUTSIDE, "chunk 2", f"{told} has 2 outside of [0, 2)") in wrong(world)


def test_a_position_outside_of_a_node_above_is_told(world: World) -> None:
    a_complete_run(world, 50)
    change(world, Node(1, 3), add={"settled": [1]})
    assert wrong(world) == [(Wrong.OUTSIDE, "node 3 of level 1", "settled has 1 outside of [0, 1)")]


def test_two_outcomes_for_an_entry_are_told(world: World) -> None:
    world.target.script("D01", 422)
    a_complete_run(world)
    change(world, Node(0, 0), add={"unknown": [1]})
    assert (Wrong.OVERLAP, "chunk 0", "position 1 is both rejected and unknown") in wrong(world)


def test_an_outcome_that_is_not_settled_is_told(world: World) -> None:
    world.begin(12)
    change(world, Node(0, 1), add={"cancelled": [3]})
    assert wrong(world) == [(Wrong.NOT_SETTLED, "chunk 1", "3 cancelled and not settled")]


def test_a_full_chunk_that_its_parent_does_not_know_is_told_and_counted_again(world: World) -> None:
    world.begin(12)
    change(world, Node(0, 1), add={"settled": [*range(5)]})
    assert wrong(world) == [(Wrong.UNKNOWN_TO_PARENT, "chunk 1", "node 0 of level 1 does not count it")]
    assert count_again(world.ledger, world.run(), world.clock.now()) == 1
    assert wrong(world) == []
    assert count_again(world.ledger, world.run(), world.clock.now()) == 0


def test_a_full_node_that_its_parent_does_not_know_is_told_and_counted_again(world: World) -> None:
    world.begin(50)
    world.drain()
    top = world.run().tree.root()
    assert top == Node(3, 0)
    world.tamper(state="running")
    change(world, Node(2, 0), settled=[1])
    assert wrong(world) == [
        (Wrong.UNKNOWN_TO_PARENT, "node 1 of level 1", "node 0 of level 2 does not count it"),
        (Wrong.NOT_FULL, "node 0 of level 2", "node 0 of level 3 counts it"),
        (Wrong.OPEN, "run", "it is running, and the root of its counting tree is full"),
    ]


def test_a_node_that_is_counted_and_not_full_is_told(world: World) -> None:
    a_complete_run(world)
    change(world, Node(0, 1), settled=[4])
    assert wrong(world) == [
        (Wrong.NOT_FULL, "chunk 1", "node 0 of level 1 counts it"),
        (Wrong.ENDED, "run", "it is complete, and 1 entry not settled"),
    ]
    assert missing(world) == {9: ("D09", Known.WAITING, 0)}


def test_a_run_that_is_open_though_its_root_is_full_is_told_and_ended(world: World) -> None:
    world.begin(3)
    change(world, Node(0, 0), add={"settled": [0, 1, 2]})
    assert wrong(world) == [(Wrong.OPEN, "run", "it is running, and the root of its counting tree is full")]
    assert count_again(world.ledger, world.run(), world.clock.now()) == 1
    assert world.run().state is RunState.COMPLETE
    assert wrong(world) == []


def test_a_chunk_of_the_manifest_that_is_missing_is_told(world: World) -> None:
    world.begin(12)
    world.clients.s3.delete_object(Bucket="manifests", Key=world.manifest_keys()[1])
    assert wrong(world) == [(Wrong.NO_CHUNK, "chunk 1", "5 entries of the manifest are not there")]
    assert {index: key for index, (key, _, _) in missing(world).items() if 3 < index < 11} == {
        4: "D04", 5: None, 6: None, 7: None, 8: None, 9: None, 10: "D10",
    }  # fmt: skip


def test_a_manifest_that_cannot_be_read_is_not_taken_for_one_that_is_missing(world: World) -> None:
    world.begin(3)
    world.clients.s3.delete_object(Bucket="manifests", Key=world.manifest_keys()[0])
    world.clients.s3.delete_bucket(Bucket="manifests")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        missing(world)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (lambda lines: lines[:3], "it has 3 lines and should have 5"),
        (lambda lines: [*lines, lines[0]], "it has 6 lines and should have 5"),
    ],
    ids=["too few", "too many"],
)
def test_a_chunk_with_other_lines_than_the_arithmetics_is_told(
    world: World, lines: Callable[[list[Any]], list[Any]], said: str
) -> None:
    world.begin(12)
    run = world.run()
    world.manifests.write(run, run.sealed_nonce, 1, lines(world.manifests.read(run, 1)))
    world.manifests.read(run, 1)
    assert wrong(world) == [(Wrong.LINES, "chunk 1", said)]
    assert len(missing(world)) == 12


def test_a_line_that_cannot_be_parsed_is_told(world: World) -> None:
    world.begin(3)
    world.clients.s3.put_object(Bucket="manifests", Key=world.manifest_keys()[0], Body=b'{"key": "D0')
    ((found, place, said),) = wrong(world)
    assert (found, place) == (Wrong.LINES, "chunk 0")
    assert said.startswith("a line cannot be parsed: ")


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.FAILED, Outcome.UNKNOWN])
def test_an_outcome_without_its_detail_is_told(world: World, outcome: Outcome) -> None:
    world.begin(12)
    settle(world, 1, 2, outcome=outcome)
    assert wrong(world) == [(Wrong.NO_DETAIL, "chunk 1", f"entry D07 is {outcome}, and nothing says why")]


def test_a_detail_of_another_generation_is_none(world: World) -> None:
    world.target.script("D03", 422)
    world.begin(12)
    world.drain()
    world.announce()
    world.redrive()
    settle(world, 0, 0, outcome=Outcome.REJECTED)
    assert [found for found, _, _ in wrong(world)] == [Wrong.NO_DETAIL]


# --- what it costs ---


def test_verifying_writes_nothing_and_reads_each_chunk_once(world: World) -> None:
    world.target.script("D03", 422)
    world.begin(50)
    world.work(world.batch(*range(7)))
    before = world.ledger_dump()
    world.wire.reset()
    found = list(verify(world.ledger, world.fan_out().manifests, world.run()))
    assert len(found) == 43
    assert world.ledger_dump() == before
    assert len(world.wire.of("GetObject")) == 10
    assert keys(50)[7:] == [each.key for each in found if isinstance(each, Missing)]
