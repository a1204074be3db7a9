"""The model of SQS and the emulators, told the same stories. Each shows what AWS documents, or a known difference."""

import json
import random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.simulation import differences
from tests.simulation.fifo import LOOKED_AT, Fifo, Message
from tests.simulation.sqs import Sqs
from tests.simulation.stories import Side, StoryClock, code, refused

TOO_MANY = 11


def test_messages_of_a_group_come_in_order_and_one_at_a_time(side: Side) -> None:
    queue = side.queue()
    for body in ("first", "second"):
        queue.send(body)
    [message] = queue.receive(1)
    assert message["Body"] == "first"
    assert queue.bodies(10) == []
    queue.delete(message)
    assert queue.bodies(10) == ["second"]


def test_one_receive_may_have_several_of_a_group_in_order(side: Side) -> None:
    queue = side.queue()
    for body in ("1", "2", "3"):
        queue.send(body)
    assert queue.bodies(2) == ["1", "2"]
    assert queue.bodies(2) == []


def test_a_receive_takes_as_much_of_a_group_as_it_can_before_the_next(side: Side) -> None:
    queue = side.queue()
    for body, group in (("a1", "a"), ("b1", "b"), ("a2", "a")):
        queue.send(body, group)
    as_sent = ["a1", "b1", "a2"]
    assert queue.bodies(3) == side.expected(
        differences.WHOLE_GROUPS, ["a1", "a2", "b1"], moto=as_sent, ministack=as_sent
    )


def test_groups_do_not_wait_for_each_other(side: Side) -> None:
    queue = side.queue()
    queue.send("a", "a")
    assert queue.bodies() == ["a"]
    queue.send("b", "b")
    assert queue.bodies() == ["b"]


def test_a_message_comes_again_when_its_visibility_ends(side: Side, clock: StoryClock) -> None:
    queue = side.queue(VisibilityTimeout="30")
    queue.send("again")
    [first] = queue.receive()
    clock.later(29)
    assert queue.receive() == []
    clock.later(2)
    [second] = queue.receive()
    assert second["MessageId"] == first["MessageId"]
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp", "MessageGroupId", "MessageDeduplicationId"):
        assert second["Attributes"][name] == first["Attributes"][name], name


def test_a_receive_may_name_its_visibility(side: Side, clock: StoryClock) -> None:
    queue = side.queue(VisibilityTimeout="30")
    queue.send("short")
    queue.receive(VisibilityTimeout=5)
    clock.later(6)
    assert queue.bodies() == ["short"]


def test_changed_visibility_counts_from_now_and_for_this_receive_only(side: Side, clock: StoryClock) -> None:
    queue = side.queue(VisibilityTimeout="30")
    queue.send("waits")
    [message] = queue.receive()
    clock.later(20)
    queue.put_off(message, 100)
    clock.later(99)
    assert queue.bodies() == []
    clock.later(2)
    assert queue.bodies() == ["waits"]
    clock.later(31)
    assert queue.bodies() == ["waits"]


def test_visibility_of_nothing_gives_a_message_back_at_once(side: Side, clock: StoryClock) -> None:
    queue = side.queue()
    queue.send("back")
    [message] = queue.receive()
    queue.put_off(message, 0)
    clock.later(0.001)
    assert queue.bodies() == ["back"]


def test_a_message_put_off_keeps_its_place_before_its_group(side: Side, clock: StoryClock) -> None:
    queue = side.queue()
    queue.send("first")
    [message] = queue.receive()
    queue.send("second")
    queue.put_off(message, 60)
    clock.later(59)
    assert queue.bodies() == []
    clock.later(2)
    assert queue.bodies(10) == ["first", "second"]


def test_equal_bodies_within_five_minutes_are_one_message(side: Side, clock: StoryClock) -> None:
    queue = side.queue()
    first = queue.send("same")
    clock.later(299)
    assert (queue.send("same") == first) is side.expected(differences.DUPLICATE_ID, True, moto=False)
    assert queue.bodies(10) == ["same"]


def test_deduplication_outlives_the_message(side: Side, clock: StoryClock) -> None:
    queue = side.queue()
    first = queue.send("same")
    [message] = queue.receive()
    queue.delete(message)
    queue.send("same")
    again = queue.receive()
    assert [message["Body"] for message in again] == side.expected(differences.FORGOTTEN_WITH_DELETE, [], moto=["same"])
    for message in again:
        queue.delete(message)
    clock.later(301)
    assert queue.send("same") != first
    assert queue.bodies() == ["same"]


def test_deduplication_knows_groups_apart_in_high_throughput_mode(side: Side) -> None:
    queue = side.queue()
    queue.send("same", "a")
    queue.send("same", "b")
    assert queue.bodies(10) == side.expected(differences.GROUP_SCOPE, ["same", "same"], moto=["same"])
    whole = side.queue(DeduplicationScope="queue", FifoThroughputLimit="perQueue")
    whole.send("same", "a")
    whole.send("same", "b")
    assert whole.bodies(10) == ["same"]


def test_a_duplicate_in_a_batch_is_successful_under_the_same_id(side: Side) -> None:
    queue = side.queue()
    entries = [{"Id": name, "MessageBody": "same", "MessageGroupId": "g"} for name in ("0", "1")]
    answer = side.sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)
    assert [success["Id"] for success in answer["Successful"]] == ["0", "1"]
    ids = {success["MessageId"] for success in answer["Successful"]}
    assert len(ids) == side.expected(differences.DUPLICATE_ID, 1, moto=2)
    assert queue.bodies(10) == ["same"]


def test_an_explicit_deduplication_id_counts_instead_of_the_body(side: Side) -> None:
    queue = side.queue()
    queue.send("one", MessageDeduplicationId="d")
    queue.send("other", MessageDeduplicationId="d")
    assert queue.bodies(10) == ["one"]


def test_message_attributes_are_no_part_of_what_is_deduplicated(side: Side) -> None:
    queue = side.queue()
    queue.send("same")
    queue.send("same", MessageAttributes={"again": {"DataType": "String", "StringValue": "1"}})
    [message] = queue.receive(10)
    assert "MessageAttributes" not in message


def test_message_attributes_arrive(side: Side) -> None:
    queue = side.queue()
    queue.send("marked", MessageAttributes={"again": {"DataType": "String", "StringValue": "1"}})
    [message] = queue.receive()
    assert message["MessageAttributes"]["again"]["StringValue"] == "1"


def test_a_message_goes_to_the_dead_letters_when_it_was_received_too_often(side: Side, clock: StoryClock) -> None:
    dead = side.queue()
    redrive = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": "2"})
    queue = side.queue(RedrivePolicy=redrive)
    name = queue.send("poison", "p")
    queue.send("after", "p")
    for _ in range(2):
        [message] = queue.receive()
        assert message["Body"] == "poison"
        clock.later(31)
    # The receive that moves the one hands out the next.
    assert queue.bodies() == ["after"]
    [letter] = dead.receive()
    assert (letter["MessageId"], letter["Body"]) == (name, "poison")
    assert letter["Attributes"]["MessageGroupId"] == "p"
    source = letter["Attributes"].get("DeadLetterQueueSourceArn")
    assert source == side.expected(differences.DEAD_LETTER_SOURCE, queue.arn, moto=None)
    by_id = letter["Attributes"]["MessageDeduplicationId"] == name
    assert by_id is side.expected(differences.DEAD_LETTER_DEDUPLICATION, True, moto=False, ministack=False)


def test_a_stale_receipt_deletes_nothing(side: Side, clock: StoryClock) -> None:
    queue = side.queue()
    queue.send("slow")
    [message] = queue.receive()
    clock.later(31)
    late = refused(lambda: queue.delete(message))
    assert late == side.expected(differences.LATE_DELETE, "InvalidParameterValue", moto="", ministack="")
    assert queue.bodies() == side.expected(differences.LATE_DELETE, ["slow"], moto=[], ministack=[])


def test_a_stale_receipt_puts_nothing_off(side: Side, clock: StoryClock) -> None:
    queue = side.queue()
    queue.send("slow")
    [stale] = queue.receive()
    clock.later(31)
    [present] = queue.receive()
    entries = [
        {"Id": name, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 600}
        for name, message in (("stale", stale), ("present", present))
    ]
    answer = side.sqs.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)
    assert "present" in {success["Id"] for success in answer["Successful"]}
    failed = [(failure["Id"], failure["Code"]) for failure in answer.get("Failed", [])]
    assert failed == side.expected(
        differences.LATE_CHANGE,
        [("stale", "MessageNotInflight")],
        moto=[],
        ministack=[("stale", "ReceiptHandleIsInvalid")],
    )


def test_deleting_twice_succeeds(side: Side) -> None:
    queue = side.queue()
    queue.send("gone")
    [message] = queue.receive()
    queue.delete(message)
    again = refused(lambda: queue.delete(message))
    assert again == side.expected(differences.DELETED_TWICE, "", ministack="ReceiptHandleIsInvalid")
    assert queue.bodies() == []


def test_visibility_ends_twelve_hours_after_the_receive_at_the_latest(side: Side, clock: StoryClock) -> None:
    queue = side.queue()
    queue.send("long")
    [message] = queue.receive()
    clock.later(10)
    too_long = refused(lambda: queue.put_off(message, 43_200))
    assert too_long == side.expected(differences.TWELVE_HOURS, "InvalidParameterValue", ministack="")
    queue.put_off(message, 43_189)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], "EmptyBatchRequest"),
        ([{"Id": str(number), "MessageBody": "b"} for number in range(TOO_MANY)], "TooManyEntriesInBatchRequest"),
        ([{"Id": "0", "MessageBody": "a"}, {"Id": "0", "MessageBody": "b"}], "BatchEntryIdsNotDistinct"),
        ([{"Id": str(number), "MessageBody": "x" * 600_000} for number in range(2)], "BatchRequestTooLong"),
    ],
)
def test_batches_that_are_refused(side: Side, entries: list[dict[str, Any]], expected: str) -> None:
    queue = side.queue()
    entries = [{**entry, "MessageGroupId": "g"} for entry in entries]
    refusal = refused(lambda: side.sqs.send_message_batch(QueueUrl=queue.url, Entries=entries))
    assert refusal.endswith(expected)
    assert queue.bodies(10) == []


def test_fifo_messages_need_a_group_and_take_no_delay(side: Side) -> None:
    queue = side.queue()
    assert refused(lambda: side.sqs.send_message(QueueUrl=queue.url, MessageBody="b")) == "MissingParameter"
    late = refused(lambda: queue.send("b", DelaySeconds=5))
    assert late == "InvalidParameterValue"


def test_messages_are_kept_as_long_as_the_queue_says(side: Side, clock: StoryClock) -> None:
    queue = side.queue(MessageRetentionPeriod="3600")
    queue.send("old")
    clock.later(3_601)
    queue.send("young", "other")
    assert queue.bodies(10) == side.expected(differences.OLD_AT_THE_FRONT, ["young"], moto=[])


@pytest.mark.parametrize("seed", range(12))
def test_any_walk_finds_the_same_messages(model: Side, moto: Side, clock: StoryClock, seed: int) -> None:
    """Single receives, with receipts that are valid: there, moto is right. Both queues hear every step."""
    chance = random.Random(seed)  # noqa: S311
    queues = [model.queue(), moto.queue()]
    held: list[list[dict[str, Any]]] = []
    for step in range(60):
        match chance.choice(["send", "send", "receive", "receive", "receive", "delete", "put off", "later"]):
            case "send":
                group = chance.choice("abc")
                for queue in queues:
                    queue.send(f"{group}{step}", group)
            case "receive":
                found = [queue.receive() for queue in queues]
                assert [message["Body"] for message in found[0]] == [message["Body"] for message in found[1]], step
                counts = [
                    [message["Attributes"]["ApproximateReceiveCount"] for message in messages] for messages in found
                ]
                assert counts[0] == counts[1]
                held += [[one, other] for one, other in zip(*found, strict=True)]
            case "delete" if held:
                for queue, message in zip(queues, held.pop(chance.randrange(len(held))), strict=True):
                    queue.delete(message)
            case "put off" if held:
                seconds = chance.choice([0, 5, 60])
                for queue, message in zip(queues, held.pop(chance.randrange(len(held))), strict=True):
                    queue.put_off(message, seconds)
            case "later":
                held.clear()
                clock.later(31)
        clock.later(0.01)


# --- the model alone ---


def test_the_model_tells_when_something_becomes_visible(clock: StoryClock) -> None:
    sqs = Sqs(lambda: clock.seconds)
    url = sqs.create_queue(
        QueueName="q.fifo",
        Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "30"},
    )["QueueUrl"]
    assert sqs.next_visible(url) is None
    sqs.send_message(QueueUrl=url, MessageBody="b", MessageGroupId="g")
    assert sqs.next_visible(url) == clock.seconds
    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    assert sqs.next_visible(url) == clock.seconds + 30
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=100)
    assert sqs.next_visible(url) == clock.seconds + 100
    clock.later(101)
    assert sqs.next_visible(url) == clock.seconds


def test_text_that_no_message_may_hold_fails_alone(model: Side) -> None:
    queue = model.queue()
    entries = [
        {"Id": "good", "MessageBody": "a", "MessageGroupId": "g"},
        {"Id": "bad", "MessageBody": "\u0001", "MessageGroupId": "g"},
    ]
    answer = model.sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)
    assert [success["Id"] for success in answer["Successful"]] == ["good"]
    assert [(failure["Id"], failure["Code"]) for failure in answer["Failed"]] == [("bad", "InvalidMessageContents")]


def test_an_unknown_receipt_is_refused(model: Side) -> None:
    queue = model.queue()
    with pytest.raises(ClientError) as error:
        queue.delete({"ReceiptHandle": "nonsense"})
    assert code(error.value) == "ReceiptHandleIsInvalid"


def test_groups_are_looked_for_at_the_front_of_a_backlog_only() -> None:
    fifo = Fifo(retention=1e9)
    for number in range(LOOKED_AT):
        fifo.append(_message(f"m{number}", "busy"))
    fifo.append(_message("last", "other"))
    [first] = fifo.receive(0.0, 1, 30.0)
    assert first.id == "m0"
    assert list(fifo.receive(0.0, 1, 30.0)) == []
    fifo.remove(first)
    assert {message.id for message in fifo.receive(0.0, 2, 30.0)} == {"m1", "m2"}
    assert [message.id for message in fifo.receive(0.0, 1, 30.0)] == ["last"]


def test_scattered_groups_keep_the_order_within_each() -> None:
    fifo = Fifo(retention=1e9, scatter=50, seed=7)
    for number in range(300):
        fifo.append(_message(f"{number:03}", f"g{number % 100}"))
    order: list[str] = []
    while found := list(fifo.receive(0.0, 1, 30.0)):
        order.append(found[0].id)
        fifo.remove(found[0])
    assert order != sorted(order)
    assert sorted(order) == [f"{number:03}" for number in range(300)]
    for group in range(100):
        mine = [name for name in order if int(name) % 100 == group]
        assert mine == sorted(mine)


def _message(name: str, group: str) -> Message:
    return Message(name, "body", group, name, {}, 0.0)
