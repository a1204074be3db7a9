"""Dead letters: what no worker could handle is settled, so that the run completes and nothing is only in a queue."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rollcall import Outcome
from rollcall.adapters.ledger import entries
from rollcall.adapters.ledger.records import node_key
from rollcall.adapters.ledger.update import Update
from rollcall.core.actions import Action
from rollcall.core.run import RunState, run_id
from rollcall.core.tree import Node
from tests.functional.wire import Killed, Sent
from tests.functional.world import DAY, DUE, NAME, RUN, World, a_job, delivered

NO_TIME = timedelta(seconds=1)


def kept(world: World) -> dict[str, str]:
    """What the bucket keeps of messages that belong to no entry."""
    keys = [key for key in world.manifest_keys() if key.startswith("dead_letter/")]
    return {key: world.clients.s3.get_object(Bucket="manifests", Key=key)["Body"].read().decode() for key in keys}


def test_an_entry_that_was_never_known_to_be_called_ends_unknown_with_its_payload_and_completes_the_run(
    world: World,
) -> None:
    world.begin(7)
    world.work(world.batch(*range(6)))
    assert world.dead_letters(world.batch(6, receives=1_000)) == []
    assert world.outcome(6) is Outcome.UNKNOWN
    detail = world.entry("D06", 6)["g1_unknown"]
    assert (detail["error"], detail["payload"]) == ("dead_letter", '{"deposit":"D06"}')
    assert world.run().state is RunState.COMPLETE
    (event,) = world.events.of(Action.DEAD_LETTER_SETTLED)
    assert (event["index"], event["outcome"]) == (6, Outcome.UNKNOWN)


def test_an_entry_whose_every_call_was_answered_ends_failed(world: World) -> None:
    world.begin(1)
    world.target.script("D00", 503)
    world.work(world.batch(0))
    world.dead_letters(world.batch(0))
    assert world.outcome(0) is Outcome.FAILED


def test_an_entry_whose_record_has_its_outcome_ends_so(world: World) -> None:
    """Its worker could write the outcome of its claimed call, and not its chunk."""
    world.declare(a_job(keys=None))
    world.begin(1)
    batch = world.batch(0)
    world.wire.kill_before(4)
    with suppress(Killed):
        world.work(batch)
    world.wire.heal()
    assert world.entry("D00")["g1_outcome"] == "succeeded"
    world.dead_letters(world.batch(0))
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}


def test_an_entry_with_an_unanswered_call_ends_unknown(world: World) -> None:
    world.begin(1)
    world.target.script("D00", 503, TimeoutError())
    world.work(world.batch(0))
    world.work(world.batch(0, receives=2))
    world.dead_letters(world.batch(0))
    assert world.outcome(0) is Outcome.UNKNOWN


def test_an_entry_that_may_be_in_a_call_ends_unknown_though_its_earlier_ones_were_answered(world: World) -> None:
    """A worker died in its second call: it is noted as begun."""
    world.begin(1)
    world.target.script("D00", 503, GeneratorExit())
    world.work(world.batch(0))
    with pytest.raises(GeneratorExit):
        world.work(world.batch(0, receives=2))
    world.dead_letters(world.batch(0))
    assert world.outcome(0) is Outcome.UNKNOWN


@pytest.mark.parametrize("what", ["begun", "unanswered"])
def test_an_entry_that_is_called_while_its_dead_letter_is_judged_is_judged_anew(world: World, what: str) -> None:
    """A repair has sent it again: what was read of its chunk is no longer so when its outcome is written."""
    world.begin(2)
    world.target.script("D00", 503)
    world.work(world.batch(0))
    note = entries.note_outcome

    def meanwhile(*arguments: Any) -> None:
        note(*arguments)
        chunk = node_key(RUN, 1, Node(0, 0))
        Update().add(what, [0]).send(world.clients.dynamodb, "ledger", chunk)

    letters = world.batch(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entries, "note_outcome", meanwhile)
        assert world.dead_letters(letters) == [letter["messageId"] for letter in letters]
    assert world.outcome(0) is None
    assert world.dead_letters(letters) == []
    assert world.outcome(0) is Outcome.UNKNOWN


def test_a_held_entry_is_left_alone_and_its_dead_letter_kept(world: World) -> None:
    world.begin(2)
    world.work(world.batch(0), time=NO_TIME)
    before = world.ledger_dump()
    letters = world.batch(0)
    assert world.dead_letters(letters) == [letter["messageId"] for letter in letters]
    assert world.ledger_dump() == before
    assert world.outcome(0) is None


def test_an_entry_that_was_settled_meanwhile_keeps_its_outcome(world: World) -> None:
    world.begin(2)
    world.work(world.batch(0))
    assert world.dead_letters(world.batch(0)) == []
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}
    assert world.events.count(Action.DEAD_LETTER_SETTLED) == 0


def test_a_dead_letter_that_comes_twice_is_settled_once(world: World) -> None:
    world.begin(2)
    world.dead_letters(world.batch(0))
    world.dead_letters(world.batch(0, receives=2))
    assert world.outcomes() == {Outcome.UNKNOWN: 1}
    assert world.events.count(Action.DEAD_LETTER_SETTLED) == 1


@pytest.mark.parametrize("body", ["not JSON", "{}", "Zoë \ud83d"], ids=["text", "empty", "half a character"])
def test_what_is_no_message_is_kept_in_the_bucket_as_it_came(world: World, body: str) -> None:
    world.begin(2)
    before = world.ledger_dump()
    assert world.dead_letters([delivered(body, message_id="m-1")]) == []
    assert kept(world) == {"dead_letter/m-1": body.encode("utf-8", "backslashreplace").decode()}
    assert world.ledger_dump() == before
    (event,) = world.events.of(Action.MESSAGE_DROPPED)
    assert event["kept"] == "dead_letter/m-1"


def test_a_message_of_a_run_that_has_ended_is_kept_in_the_bucket_and_changes_nothing(world: World) -> None:
    world.begin(2)
    message = world.message(0)
    world.drain()
    before = world.ledger_dump()
    world.dead_letters([delivered(message, message_id="late")])
    assert kept(world) == {"dead_letter/late": message.body()}
    assert world.ledger_dump() == before


def test_one_that_cannot_be_settled_now_comes_again_and_its_neighbours_do_not(world: World) -> None:
    def before(sent: Sent) -> None:
        if sent.operation == "UpdateItem" and sent.key.endswith("#0#0"):
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, sent.operation)

    world.begin(10)
    batch = world.batch(0, 7)
    world.wire.before = before
    assert world.dead_letters(batch) == [batch[0]["messageId"]]
    world.wire.heal()
    assert world.outcomes() == {Outcome.UNKNOWN: 1}


def test_letters_of_any_jobs_runs_are_settled_in_their_own_run(world: World) -> None:
    world.begin(2)
    world.drain()
    world.begin(2, scheduled_for=DUE + DAY)
    tomorrow = run_id(NAME, DUE + DAY)
    world.dead_letters(world.batch(0, 1, run=tomorrow))
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}
    assert world.outcomes(tomorrow) == {Outcome.UNKNOWN: 2}
    assert world.run(tomorrow).state is RunState.COMPLETE
