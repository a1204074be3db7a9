"""Whatever lies on a queue: it is dropped or kept with a short line, it harms no neighbour, and nothing is called."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from rollcall import Outcome
from rollcall.adapters.ledger.records import run_key
from rollcall.core.actions import Action
from rollcall.core.message import Message
from rollcall.core.names import dead_letter_queue_name
from rollcall.core.run import RunRecord, RunState, iso
from rollcall.core.values import digest
from rollcall.engine.worker.dead_letter import DeadLetters
from tests.functional.workers import ids
from tests.functional.world import DAY, DUE, NAME, RUN, World, delivered
from tests.hostile import MILLION, bodies

#: What names and payload are does not matter for their number.
ANY = Message(RUN, generation=1, chunk=0, index=0, total=7, key="D00", payload=None)
#: More than any line needs, and less than what is hidden in the messages.
LONGEST_LINE = 2_500


def zoo(world: World) -> dict[str, dict[str, Any]]:
    """Records with a hostile body, by what is wrong with it."""
    found = bodies(world.message(0)).items()
    return {name: delivered(body, message_id=f"zoo-{n}") for n, (name, body) in enumerate(found)}


def longest_line(world: World) -> int:
    """Characters of the longest log line, as it is written."""
    formatter = LambdaPowertoolsFormatter()
    return max(len(formatter.format(record)) for record in world.events.records)


def has(record: Mapping[str, Any], **attributes: object) -> dict[str, Any]:
    """The record as SQS would never deliver it: with other attributes, or without those that are None."""
    found = {**record["attributes"], **attributes}
    return {**record, "attributes": {name: value for name, value in found.items() if value is not None}}


# --- at the worker ---


def test_nothing_hostile_is_called_or_written_or_stays(world: World) -> None:
    world.begin(7)
    before = world.ledger_dump()
    stay = {name: world.work([record]) for name, record in zoo(world).items()}
    assert {name: returned for name, returned in stay.items() if returned} == {}
    assert world.target.calls == []
    assert world.ledger_dump() == before


def test_each_hostile_message_is_told_of_once(world: World) -> None:
    world.begin(7)
    records = zoo(world)
    for name, record in records.items():
        world.work([record])
        assert [event["message_id"] for event in world.events.of(Action.MESSAGE_DROPPED)] == [record["messageId"]], name
        world.events.records.clear()


def test_no_line_carries_what_is_long_in_a_message(world: World) -> None:
    world.begin(7)
    world.work(zoo(world).values())
    assert longest_line(world) < LONGEST_LINE


def test_a_run_among_hostile_messages_calls_each_entry_once_and_completes(world: World) -> None:
    """Each hostile message in one batch with two entries."""
    number = 2 * len(bodies(ANY))
    world.begin(number)
    records = zoo(world)
    for n, hostile in enumerate(records.values()):
        one, other = world.batch(2 * n, 2 * n + 1)
        assert world.work([one, hostile, other]) == []
    assert set(world.target.times().values()) == {1}
    assert world.outcomes() == {Outcome.SUCCEEDED: number}
    assert world.run().state is RunState.COMPLETE


def test_a_message_in_the_group_of_another_entity_is_dropped(world: World) -> None:
    """Else two messages of an entity could be handled at the same time."""
    world.begin(2)
    (record,) = world.batch(0)
    assert world.work([has(record, MessageGroupId=world.message(1).group)]) == []
    (event,) = world.events.of(Action.MESSAGE_DROPPED)
    assert event["reason"] == "its message group is not its entry's"
    assert world.target.calls == []


def test_a_message_that_was_called_before_its_run_began_is_dropped_if_that_is_still_to_come(world: World) -> None:
    world.begin(2)
    tomorrow = replace(world.message(0), called_since=iso(DUE + DAY))
    assert world.work([delivered(tomorrow)]) == []
    (event,) = world.events.of(Action.MESSAGE_DROPPED)
    assert event["reason"].startswith("it was called before 2026-11-22T02:30:00.000000+00:00, and the run's generation")


def test_a_message_of_another_job_makes_no_request(world: World) -> None:
    world.begin(2)
    message = replace(world.message(0), run=f"another-{RUN}")
    world.wire.reset()
    world.work([delivered(message)] * 10)
    assert world.wire.sent == []


@pytest.mark.parametrize(
    "state", [state for state in RunState if state.terminal or state in {RunState.QUEUED, RunState.ENUMERATING}]
)
def test_a_message_of_a_run_that_is_not_under_way_is_dropped(world: World, state: RunState) -> None:
    world.begin(2)
    batch = world.batch(0)
    world.tamper(state=state.value)
    before = world.ledger_dump()
    assert world.work(batch) == []
    assert (world.target.calls, world.ledger_dump()) == ([], before)
    (event,) = world.events.of(Action.MESSAGE_DROPPED)
    assert event["reason"] == f"its run is {state}"


def test_a_message_of_a_run_that_the_ledger_has_forgotten_is_dropped(world: World) -> None:
    """Its time to live is over."""
    world.begin(2)
    batch = world.batch(0)
    world.clients.dynamodb.delete_item(TableName="ledger", Key={"pk": {"S": run_key(RUN)}})
    assert world.work(batch) == []
    (event,) = world.events.of(Action.MESSAGE_DROPPED)
    assert (event["reason"], event["run"], event["index"]) == ("its run is not known", RUN, 0)
    assert world.target.calls == []


def test_a_dropped_messages_payload_is_not_logged_where_its_names_tell_what_it_is(world: World) -> None:
    world.begin(2)
    world.work([delivered(replace(world.message(0), generation=9, payload={"iban": "DE02"}))])
    (event,) = world.events.of(Action.MESSAGE_DROPPED)
    assert "DE02" not in str(event)


# --- what surrounds a body ---


@pytest.mark.parametrize("name", ["messageId", "receiptHandle", "body"])
@pytest.mark.parametrize("value", [None, 7, ["text"]], ids=repr)
def test_a_record_without_what_sqs_gives_every_one_is_dropped(world: World, name: str, value: object) -> None:
    world.begin(2)
    one, other = world.batch(0, 1)
    assert world.work([{**one, name: value}, other]) == []
    assert world.events.count(Action.MESSAGE_DROPPED) == 1
    assert world.target.keys == ["D01"]


@pytest.mark.parametrize("count", [None, "many", "-1", "1e3", "9" * 5_000, ["1"]], ids=lambda count: repr(count)[:9])
def test_an_entry_of_which_it_is_not_said_how_often_it_came_is_taken_for_one_that_came_before(
    world: World, count: object
) -> None:
    world.begin(2)
    world.work(world.batch(0))
    records = [has(record, ApproximateReceiveCount=count) for record in world.batch(0, 1)]
    assert world.work(records) == []
    assert world.target.times() == {"D00": 1, "D01": 1}


@pytest.mark.parametrize(
    "stamp", ["soon", "9" * 30, "-" + "9" * 30, "9" * 5_000, ["1"]], ids=lambda stamp: str(stamp)[:9]
)
def test_an_absurd_time_of_the_first_receive_keeps_no_entry_from_being_called(world: World, stamp: object) -> None:
    world.begin(2)
    records = [has(record, ApproximateFirstReceiveTimestamp=stamp) for record in world.batch(0, 1)]
    assert world.work(records) == []
    assert world.outcomes() == {Outcome.SUCCEEDED: 2}


@pytest.mark.parametrize(
    "mark", [None, 7, {}, {"dataType": "Binary"}, {"dataType": "Number", "stringValue": "NaN"}], ids=repr
)
def test_a_mark_of_a_strange_type_is_a_mark(world: World, mark: object) -> None:
    world.begin(2)
    world.work(world.batch(0))
    records = [{**record, "messageAttributes": {"sent_again": mark}} for record in world.batch(0, 1)]
    assert world.work(records) == []
    assert world.target.times() == {"D00": 1, "D01": 1}


def test_a_record_whose_attributes_are_null_is_an_entry_that_came_before(world: World) -> None:
    world.begin(2)
    world.work(world.batch(0))
    assert world.work([{**record, "attributes": None, "messageAttributes": None} for record in world.batch(0, 1)]) == []
    assert world.target.times() == {"D00": 1, "D01": 1}


# --- at the dead-letter function ---


def letters(world: World) -> dict[str, bytes]:
    """What the bucket keeps of messages that belong to no entry."""
    names = [key for key in world.manifest_keys() if key.startswith("dead_letter/")]
    return {name: world.clients.s3.get_object(Bucket="manifests", Key=name)["Body"].read() for name in names}


def test_every_hostile_dead_letter_is_kept_as_it_came_and_changes_nothing(world: World) -> None:
    world.begin(7)
    before, records = world.ledger_dump(), zoo(world)
    assert world.dead_letters(records.values()) == []
    assert letters(world) == {
        f"dead_letter/{record['messageId']}": record["body"].encode() for record in records.values()
    }
    assert world.ledger_dump() == before


def test_no_line_carries_what_is_long_in_a_dead_letter(world: World) -> None:
    world.begin(7)
    world.dead_letters(zoo(world).values())
    assert world.events.count(Action.MESSAGE_DROPPED) == len(zoo(world))
    assert longest_line(world) < LONGEST_LINE


def test_the_neighbours_of_hostile_dead_letters_are_settled(world: World) -> None:
    world.begin(2)
    one, other = world.batch(0, 1)
    assert world.dead_letters([one, *zoo(world).values(), other]) == []
    assert world.outcomes() == {Outcome.UNKNOWN: 2}


@pytest.mark.parametrize(
    "forged",
    [
        {"key": "D01"},
        {"key": "D99"},
        {"payload": {"deposit": "D99"}},
        {"payload": "p" * 100_000},
        {"idempotency_key": "another's"},
        {"called_since": iso(DUE - DAY)},
        {"unanswered_since": iso(DUE - DAY)},
        {"index": 1},
    ],
    ids=lambda forged: next(iter(forged)),
)
def test_a_dead_letter_that_is_not_in_the_manifest_settles_nothing(world: World, forged: dict[str, Any]) -> None:
    world.begin(2)
    before = world.ledger_dump()
    assert world.dead_letters([delivered(replace(world.message(0), **forged), message_id="forged")]) == []
    assert world.ledger_dump() == before
    assert [*letters(world)] == ["dead_letter/forged"]


def test_a_dead_letter_of_an_entry_that_was_redriven_is_in_the_manifest(world: World) -> None:
    world.begin(1)
    world.target.script("D00", 503, 503, 503, 503)
    world.drain()
    world.announce()
    world.redrive()
    world.dead_letters(world.batch(0))
    assert world.run().state is RunState.COMPLETE


@pytest.mark.parametrize(
    "message_id", [None, 7, "../run/1/n/000000.jsonl", "m" * MILLION], ids=lambda name: str(name)[:9]
)
def test_a_dead_letter_with_an_absurd_id_is_kept_under_what_it_says(world: World, message_id: object) -> None:
    world.begin(2)
    assert world.dead_letters([{**delivered("nonsense"), "messageId": message_id}, *world.batch(0)]) == []
    assert letters(world) == {f"dead_letter/{digest('nonsense')}": b"nonsense"}
    assert longest_line(world) < LONGEST_LINE


def test_a_dead_letter_without_a_body_is_kept_as_one(world: World) -> None:
    world.begin(2)
    letter = {name: value for name, value in delivered("", message_id="m-1").items() if name != "body"}
    assert world.dead_letters([letter, *world.batch(0)]) == []
    assert letters(world) == {"dead_letter/m-1": b""}


def test_a_dead_letter_that_makes_the_handler_fall_over_comes_again_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever nobody has thought of."""

    def settle(_: DeadLetters, run: RunRecord, message: Message) -> None:
        if message.index == 1:
            raise ZeroDivisionError(run.id)

    world.begin(2)
    one, other = world.batch(0, 1)
    monkeypatch.setattr(DeadLetters, "_settle", settle)
    assert world.dead_letters([other, one]) == ids([other])
    (event,) = world.events.of(Action.ENTRY_RETURNED)
    assert event["reason"].startswith("ZeroDivisionError in settle (test_hostile_messages.py, line ")


def test_a_letter_on_another_jobs_dead_letter_queue_settles_nothing(world: World) -> None:
    world.begin(2)
    own, foreign = (
        {**record, "eventSourceARN": f"arn:aws:sqs:eu-west-1:123456789012:{dead_letter_queue_name('dev', job)}"}
        for record, job in zip(world.batch(0, 1), (NAME, "another"), strict=True)
    )
    handler = DeadLetters(world.ledger, world.manifests, world.clock, environment="dev")
    assert handler.handle([foreign, own]) == []
    assert (world.outcome(0), world.outcome(1)) == (Outcome.UNKNOWN, None)
    assert [*letters(world)] == [f"dead_letter/{foreign['messageId']}"]
