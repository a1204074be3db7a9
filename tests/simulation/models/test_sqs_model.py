"""The model of SQS and the emulators, told the same stories. Each shows what AWS documents, or a known difference."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.simulation.models import differences
from tests.simulation.models.fifo import LOOKED_AT, MOST_IN_FLIGHT, Fifo, Message
from tests.simulation.models.sqs import Sqs
from tests.simulation.models.stories import BROKEN, Side, StoryClock, StoryQueue, refused

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
    dead, queue = _with_dead_letters(side, most_receives=2)
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


def test_a_dead_letter_is_kept_anew_and_deduplicated_by_nobody(side: Side, clock: StoryClock) -> None:
    dead, queue = _with_dead_letters(side, most_receives=1, MessageRetentionPeriod="3600")
    for group in ("a", "b"):
        queue.send("same", group)
        clock.later(600)
    assert queue.bodies(10, VisibilityTimeout=0) == ["same", "same"]
    clock.later(0.001)
    assert queue.bodies() == []
    clock.later(3_000)
    # Over an hour old, the first of them, and both new here.
    letters = dead.bodies(10, VisibilityTimeout=0)
    assert letters == side.expected(differences.DEAD_LETTER_AGE, ["same", "same"], moto=[])
    clock.later(601)
    assert dead.bodies(10) == []


def test_a_dead_letter_goes_on_counting_receives(side: Side, clock: StoryClock) -> None:
    dead, queue = _with_dead_letters(side, most_receives=2)
    queue.send("poison")
    for _ in range(3):
        queue.receive(VisibilityTimeout=1)
        clock.later(2)
    [letter] = dead.receive()
    assert letter["Attributes"]["ApproximateReceiveCount"] == "3"


def test_a_redrive_sends_dead_letters_back_as_new_messages(side: Side, clock: StoryClock) -> None:
    dead, queue = _with_dead_letters(side, most_receives=1)
    name = queue.send("poison", "p")
    queue.receive(VisibilityTimeout=1)
    clock.later(2)
    assert queue.bodies() == []
    clock.later(400)
    begun = side.broken_or(lambda: refused(lambda: side.sqs.start_message_move_task(SourceArn=dead.arn)))
    assert begun == side.expected(differences.REDRIVE, "", moto=BROKEN, ministack="InvalidAction")
    if side.differs(differences.REDRIVE):
        return
    assert dead.counts() == (0, 0, 0)
    [message] = queue.receive()
    assert message["Body"] == "poison"
    assert message["MessageId"] != name
    told = message["Attributes"]
    assert (told["ApproximateReceiveCount"], told["MessageGroupId"]) == ("1", "p")
    assert told["SentTimestamp"] == f"{clock.seconds * 1_000:.0f}"
    assert "DeadLetterQueueSourceArn" not in told


def test_a_queue_is_found_by_its_name(side: Side) -> None:
    queue = side.queue()
    assert side.sqs.get_queue_url(QueueName=queue.arn.rsplit(":", 1)[-1])["QueueUrl"] == queue.url
    unknown = refused(lambda: side.sqs.get_queue_url(QueueName="nobody.fifo"))
    assert unknown == "AWS.SimpleQueueService.NonExistentQueue"


def test_a_queue_counts_its_messages(side: Side, clock: StoryClock) -> None:
    queue = side.queue()
    for group in ("a", "a", "b"):
        queue.send(f"{group}{clock.seconds}", group)
        clock.later(1)
    assert queue.counts() == (3, 0, 0)
    [message] = queue.receive()
    # The one that waits for its group counts as visible.
    assert queue.counts() == (2, 1, 0)
    clock.later(31)
    assert queue.counts() == (3, 0, 0)
    [message] = queue.receive()
    queue.delete(message)
    assert queue.counts() == (2, 0, 0)


def test_a_purge_takes_everything_once_a_minute(side: Side, clock: StoryClock) -> None:
    queue = side.queue()
    queue.send("in flight", "a")
    queue.receive()
    queue.send("waits", "b")
    side.sqs.purge_queue(QueueUrl=queue.url)
    clock.later(31)
    assert queue.bodies(10) == []
    again = refused(lambda: side.sqs.purge_queue(QueueUrl=queue.url))
    assert again == side.expected(differences.PURGE_AGAIN, "AWS.SimpleQueueService.PurgeQueueInProgress", ministack="")
    clock.later(60)
    side.sqs.purge_queue(QueueUrl=queue.url)


def test_sequence_numbers_grow(side: Side) -> None:
    queue = side.queue()
    numbers = [
        side.sqs.send_message(QueueUrl=queue.url, MessageBody=body, MessageGroupId="g").get("SequenceNumber")
        for body in ("first", "second")
    ]
    growing = None not in numbers and int(numbers[0]) < int(numbers[1])
    assert growing is side.expected(differences.SEQUENCE_NUMBER, True, moto=False)


@pytest.mark.parametrize("name", ["é", "g" * 129, "a b"])
def test_ids_are_short_and_ascii(side: Side, name: str) -> None:
    queue = side.queue()
    for refusal in (
        refused(lambda: queue.send("body", name)),
        refused(lambda: queue.send("body", "other", MessageDeduplicationId=name)),
    ):
        assert refusal == side.expected(differences.FIFO_IDS, "InvalidParameterValue", moto="", ministack="")


def test_a_message_has_a_body_of_one_mebibyte_at_most(side: Side) -> None:
    queue = side.queue()
    empty = refused(lambda: queue.send(""))
    assert empty == side.expected(differences.EMPTY_BODY, "MissingParameter", moto="")
    assert refused(lambda: queue.send("x" * (1024 * 1024 + 1), "huge")) == "InvalidParameterValue"
    queue.send("x" * 1024 * 1024, "large")


def test_an_entry_with_text_that_no_message_may_hold_fails_alone(side: Side) -> None:
    queue = side.queue()
    entries = [
        {"Id": "good", "MessageBody": "a", "MessageGroupId": "a"},
        {"Id": "bad", "MessageBody": "\u0001", "MessageGroupId": "b"},
    ]
    answer = side.sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)
    failures = [(failure["Id"], failure["Code"], failure["SenderFault"]) for failure in answer.get("Failed", [])]
    assert failures == side.expected(differences.FORBIDDEN_TEXT, [("bad", "InvalidMessageContents", True)], moto=[])
    assert "good" in {success["Id"] for success in answer["Successful"]}


def test_an_entry_without_a_group_fails_alone(side: Side) -> None:
    queue = side.queue()
    entries = [{"Id": "good", "MessageBody": "a", "MessageGroupId": "g"}, {"Id": "bad", "MessageBody": "b"}]
    failures: list[str] = []

    def send() -> None:
        answer = side.sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)
        failures.extend(f"{failure['Id']}: {failure['Code']}" for failure in answer["Failed"])

    refusal = refused(send)
    assert refusal == side.expected(differences.ENTRY_WITHOUT_GROUP, "", moto="MissingParameter")
    assert failures == side.expected(differences.ENTRY_WITHOUT_GROUP, ["bad: MissingParameter"], moto=[])
    assert queue.bodies(10) == side.expected(differences.ENTRY_WITHOUT_GROUP, ["a"], moto=[])


def test_a_batch_deletes_entry_by_entry(side: Side) -> None:
    queue = side.queue()
    queue.send("gone")
    [message] = queue.receive()
    entries = [
        {"Id": "nonsense", "ReceiptHandle": "nonsense"},
        {"Id": "gone", "ReceiptHandle": message["ReceiptHandle"]},
    ]
    answer = side.sqs.delete_message_batch(QueueUrl=queue.url, Entries=entries)
    assert [success["Id"] for success in answer["Successful"]] == ["gone"]
    failures = [(failure["Id"], failure["Code"], failure["SenderFault"]) for failure in answer["Failed"]]
    assert failures == [("nonsense", "ReceiptHandleIsInvalid", True)]


def test_a_batch_changes_visibility_entry_by_entry(side: Side) -> None:
    queue = side.queue()
    for group in ("a", "b"):
        queue.send(f"of {group}", group)
    entries = [
        {"Id": message["Attributes"]["MessageGroupId"], "ReceiptHandle": message["ReceiptHandle"]}
        | {"VisibilityTimeout": 43_201 if message["Attributes"]["MessageGroupId"] == "b" else 600}
        for message in queue.receive(2)
    ]
    answer = side.sqs.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)
    failures = [(failure["Id"], failure["Code"]) for failure in answer.get("Failed", [])]
    assert failures == side.expected(differences.LONG_VISIBILITY, [("b", "InvalidParameterValue")], ministack=[])
    assert "a" in {success["Id"] for success in answer["Successful"]}


def test_a_batch_of_no_receipts_is_refused(side: Side) -> None:
    queue = side.queue()
    refusal = refused(lambda: side.sqs.delete_message_batch(QueueUrl=queue.url, Entries=[]))
    assert refusal == "AWS.SimpleQueueService.EmptyBatchRequest"


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([str(number) for number in range(TOO_MANY)], "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"),
        (["0", "0"], "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
    ],
)
def test_batches_of_receipts_that_are_refused(side: Side, ids: list[str], expected: str) -> None:
    queue = side.queue()
    entries = [{"Id": name, "ReceiptHandle": f"nonsense {number}"} for number, name in enumerate(ids)]
    refusal = refused(lambda: side.sqs.delete_message_batch(QueueUrl=queue.url, Entries=entries))
    assert refusal == side.expected(differences.BATCH_OF_RECEIPTS, expected, moto="")


def test_an_unknown_receipt_is_refused(side: Side) -> None:
    queue, nonsense = side.queue(), {"ReceiptHandle": "nonsense"}
    assert refused(lambda: queue.delete(nonsense)) == "ReceiptHandleIsInvalid"
    assert refused(lambda: queue.put_off(nonsense, 5)) == "ReceiptHandleIsInvalid"


def test_a_queue_that_is_not_there_takes_nothing(side: Side) -> None:
    url = side.queue().url.replace("story", "nobody")
    refusal = refused(lambda: side.sqs.send_message(QueueUrl=url, MessageBody="b", MessageGroupId="g"))
    assert refusal == "AWS.SimpleQueueService.NonExistentQueue"


def _with_dead_letters(side: Side, most_receives: int, **attributes: str) -> tuple[StoryQueue, StoryQueue]:
    """A dead-letter queue, and a queue whose dead letters go there."""
    dead = side.queue(**attributes)
    policy = {"deadLetterTargetArn": dead.arn, "maxReceiveCount": str(most_receives)}
    return dead, side.queue(RedrivePolicy=json.dumps(policy), **attributes)


# --- any of it ---


@pytest.mark.parametrize("seed", range(6))
def test_any_walk_finds_the_same_messages_in_ministack(
    model: Side, ministack: Side, clock: StoryClock, seed: int
) -> None:
    """Receipts that are valid, and receives of one message or of all: there, MiniStack is right."""
    chance = random.Random(seed)  # noqa: S311
    pairs = [_with_dead_letters(side, most_receives=3, MessageRetentionPeriod="3600") for side in (model, ministack)]
    queues = [queue for _, queue in pairs]
    walk = Walk(queues, clock, chance)
    for _ in range(60):
        match chance.choice(["send", "send", "receive", "receive", "all", "delete", "put off", "later"]):
            case "send":
                walk.send(f"{chance.randrange(12)}", chance.choice("abcd"))
            case "receive":
                walk.receive(1, visibility=chance.choice([5, 30, 100]))
            case "all" if sum(queues[0].counts()) <= 10:
                walk.receive(10, visibility=chance.choice([5, 30]))
            case "delete":
                walk.delete()
            case "put off":
                walk.put_off(chance.choice([0, 5, 60, 400]))
            case "later":
                clock.later(chance.choice([1, 6, 31, 31, 301, 1_900]))
        clock.later(0.01)
    walk.compare([queue.counts()[1] for queue in queues])
    walk.drain()
    walk.compare([sorted(dead.bodies(10)) for dead, _ in pairs])


@pytest.mark.parametrize("seed", range(4))
def test_any_walk_finds_the_same_messages_in_moto(model: Side, moto: Side, clock: StoryClock, seed: int) -> None:
    """Bodies sent once, single receives, and receipts that are valid: there, moto is right."""
    chance = random.Random(seed)  # noqa: S311
    walk = Walk([model.queue(), moto.queue()], clock, chance)
    for step in range(60):
        match chance.choice(["send", "send", "receive", "receive", "receive", "delete", "put off", "later"]):
            case "send":
                walk.send(f"{step}", chance.choice("abc"))
            case "receive":
                walk.receive(1, visibility=30)
            case "delete":
                walk.delete()
            case "put off":
                walk.put_off(chance.choice([0, 5, 60]))
            case "later":
                clock.later(31)
        clock.later(0.01)
    walk.drain()


@dataclass
class Walk:
    """The same steps on two queues, whose answers have to be the same."""

    queues: list[StoryQueue]
    clock: StoryClock
    chance: random.Random
    #: What was received and is in flight: until when, and the message of either queue.
    held: list[tuple[float, list[dict[str, Any]]]] = field(default_factory=list)
    #: Ids of the same message.
    names: dict[str, str] = field(default_factory=dict)
    told: list[object] = field(default_factory=list)

    def compare(self, answers: Sequence[object]) -> None:
        self.told.append(answers[0])
        assert answers[0] == answers[1], f"after {self.told[:-1]}"

    def send(self, body: str, group: str) -> None:
        one, other = (queue.send(body, group) for queue in self.queues)
        self.told.append(f"sent {body} of {group} at {self.clock.seconds}")
        # A duplicate has the id of its original.
        assert self.names.setdefault(one, other) == other, f"after {self.told}"

    def receive(self, most: int, visibility: int) -> bool:
        """Whether there was something."""
        found = [queue.receive(most, VisibilityTimeout=visibility) for queue in self.queues]
        for messages in found:
            messages.sort(key=_group_of)
        self.compare([[(_group_of(one), one["Body"], _receives_of(one)) for one in messages] for messages in found])
        until = self.clock.seconds + visibility
        self.held += [(until, list(pair)) for pair in zip(*found, strict=True)]
        return bool(found[0])

    def delete(self) -> None:
        if pair := self._some():
            self._each(pair[1], lambda queue, message: queue.delete(message))

    def put_off(self, seconds: int) -> None:
        if pair := self._some():
            self._each(pair[1], lambda queue, message: queue.put_off(message, seconds))

    def drain(self) -> None:
        """Receive and delete all that there is."""
        self.clock.later(500)
        while self.receive(1, visibility=30):
            self.delete()
            self.clock.later(0.01)

    def _some(self) -> tuple[float, list[dict[str, Any]]] | None:
        self.held = [pair for pair in self.held if pair[0] > self.clock.seconds]
        return self.held.pop(self.chance.randrange(len(self.held))) if self.held else None

    def _each(self, messages: list[dict[str, Any]], act: Callable[[StoryQueue, dict[str, Any]], None]) -> None:
        for queue, message in zip(self.queues, messages, strict=True):
            act(queue, message)


def _group_of(message: dict[str, Any]) -> str:
    return str(message["Attributes"]["MessageGroupId"])


def _receives_of(message: dict[str, Any]) -> str:
    return str(message["Attributes"]["ApproximateReceiveCount"])


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


def test_only_so_many_messages_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_IN_FLIGHT == 120_000
    monkeypatch.setattr("tests.simulation.models.fifo.MOST_IN_FLIGHT", 100)
    fifo = Fifo(retention=1e9)
    for number in range(101):
        fifo.append(_message(f"m{number}", f"g{number}"))
    received = list(fifo.receive(0.0, 101, 30.0))
    assert len(received) == 100
    # No error: nothing, until one of them is gone.
    assert list(fifo.receive(0.0, 1, 30.0)) == []
    fifo.remove(received[0])
    [last] = fifo.receive(0.0, 1, 30.0)
    assert last.id == "m100"


def test_groups_are_looked_for_at_the_front_of_a_backlog_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LOOKED_AT == 120_000
    monkeypatch.setattr("tests.simulation.models.fifo.LOOKED_AT", 100)
    fifo = Fifo(retention=1e9)
    for number in range(100):
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
