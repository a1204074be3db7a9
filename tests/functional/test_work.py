"""What a worker knows of an entry in its hand, and when a call of it may count for nothing."""

from datetime import timedelta
from typing import Any

import pytest

from rollcall.adapters.ledger.entries import EntryRecord
from rollcall.adapters.ledger.records import NodeRecord
from rollcall.core.answers import Answer
from rollcall.core.outcome import Outcome
from rollcall.engine.worker.messages import Delivery
from rollcall.engine.worker.work_item import Work
from tests.functional.world import DUE, World

SECOND = timedelta(seconds=1)
FIRST = frozenset({0})
DOWN = Answer(None, "http_503", "the target is down", never_executed=True)
IN_DOUBT = Answer(None, "http_500", "it may have done something")


def work_of(world: World, *, again: bool = True, **known: Any) -> Work:
    world.begin(12)
    delivery = Delivery("m", "receipt of m", world.message(0), again, DUE, "D00", world.run())
    return Work(delivery, attempts=1, outcome=Outcome.FAILED, **known)


def test_a_call_that_only_showed_that_the_target_is_down_counts_for_nothing(world: World) -> None:
    work = work_of(world)
    work.forgive(DOWN, SECOND)
    assert (work.outcome, work.wait, work.attempts) == (None, SECOND, 0)


@pytest.mark.parametrize(
    ("known", "answer"),
    [
        pytest.param({"must_ask": True}, DOWN, id="it was asked about"),
        pytest.param({"told": True}, DOWN, id="its record says so already"),
        pytest.param({"record": EntryRecord(owner="me", fence=1)}, IN_DOUBT, id="its claim alone remembers the call"),
    ],
)
def test_a_call_that_may_have_had_an_effect_counts(world: World, known: dict[str, Any], answer: Answer) -> None:
    work = work_of(world, **known)
    work.forgive(answer, SECOND)
    assert (work.outcome, work.wait, work.attempts) == (Outcome.FAILED, None, 1)


@pytest.mark.parametrize(("again", "begun", "known"), [(False, False, True), (True, False, False), (True, True, True)])
def test_what_may_have_been_received_before_is_known_once_its_chunk_was_read(
    world: World, again: bool, begun: bool, known: bool
) -> None:
    assert work_of(world, again=again, begun=begun).known is known


def test_who_was_not_answered_may_have_had_an_effect(world: World) -> None:
    work = work_of(world)
    work.remember(NodeRecord(unanswered=FIRST, attempts={0: 1}))
    assert (work.unanswered, work.indefinite) == (True, True)
