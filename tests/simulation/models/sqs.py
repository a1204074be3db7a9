"""SQS: FIFO queues behind the client calls that senders, receivers and the engine make."""

import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from tests.simulation.models.fifo import Fifo, Message
from tests.simulation.models.refusals import ResourceNotFoundException, refusal

ACCOUNT, REGION = "123456789012", "eu-west-1"
DEDUPLICATION_SECONDS = 300.0
LONGEST_VISIBILITY = 43_200
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_PurgeQueue.html
PURGE_SECONDS = 60.0
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
MOST_ENTRIES = 10
MOST_BYTES = 1024 * 1024
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
#: Of groups and of deduplication.
_FIFO_ID = re.compile(r"[!-~]{1,128}")
_NO_TEXT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass
class Queue:
    """A queue's settings and messages."""

    name: str
    messages: Fifo
    visibility: int = 30
    #: By group in high-throughput mode, else over the whole queue.
    deduplicates_by_group: bool = True
    content_based: bool = True
    #: The dead-letter queue's name, and how often a message is handed out before it goes there.
    dead_letters: str | None = None
    most_receives: int = 0
    #: What was sent within five minutes: when that ends, and the original's id and sequence number.
    recent: dict[tuple[str, str], tuple[float, str, str]] = field(default_factory=dict)
    recent_ends: deque[tuple[float, tuple[str, str]]] = field(default_factory=deque)
    #: When which messages were put on it, by their bodies: not kept on AWS.
    history: list[tuple[float, str]] = field(default_factory=list)
    #: When its messages may be purged again.
    purged_until: float = 0.0
    #: Called when there may be something new to receive.
    on_change: Callable[[], None] | None = None

    @property
    def url(self) -> str:
        return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self.name}"

    @property
    def arn(self) -> str:
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}"

    def changed(self) -> None:
        if self.on_change is not None:
            self.on_change()


class Sqs:
    """The service. `receive_message` never waits: ask `next_visible` how long a long poll would."""

    exceptions = None

    def __init__(self, now: Callable[[], float], *, scatter: int = 0, seed: int = 0) -> None:
        self._now = now
        self._scatter = scatter
        self._seed = seed
        self._queues: dict[str, Queue] = {}
        self._ids = 0

    def queue(self, url: str) -> Queue:
        """For looking into a queue from outside."""
        return self._queues[url.rsplit("/", 1)[-1]]

    def next_visible(self, url: str) -> float | None:
        """When there may be something to receive, in the service's time; None if only a send can change that."""
        return self.queue(url).messages.next_visible(self._now())

    # --- queues ---

    def create_queue(self, *, QueueName: str, Attributes: Mapping[str, str] | None = None) -> dict[str, Any]:  # noqa: N803
        attributes = Attributes or {}
        if not QueueName.endswith(".fifo") or attributes.get("FifoQueue") != "true":
            raise NotImplementedError("only FIFO queues are modelled")
        retention = float(attributes.get("MessageRetentionPeriod", "345600"))
        redrive: Mapping[str, Any] = json.loads(attributes.get("RedrivePolicy", "{}"))
        queue = Queue(
            QueueName,
            Fifo(retention, scatter=self._scatter, seed=self._seed),
            visibility=int(attributes.get("VisibilityTimeout", "30")),
            deduplicates_by_group=attributes.get("DeduplicationScope") == "messageGroup",
            content_based=attributes.get("ContentBasedDeduplication") == "true",
            dead_letters=redrive["deadLetterTargetArn"].rsplit(":", 1)[-1] if redrive else None,
            most_receives=int(redrive.get("maxReceiveCount", 0)),
        )
        self._queues[QueueName] = queue
        return {"QueueUrl": queue.url}

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: Sequence[str] = ()) -> dict[str, Any]:  # noqa: N803
        queue = self._known("GetQueueAttributes", QueueUrl)
        queue.messages.advance(self._now())
        in_flight = queue.messages.in_flight
        found = {
            "QueueArn": queue.arn,
            "ApproximateNumberOfMessages": str(len(queue.messages) - in_flight),
            "ApproximateNumberOfMessagesNotVisible": str(in_flight),
            # A FIFO queue's messages have no delay of their own, and ours has none.
            "ApproximateNumberOfMessagesDelayed": "0",
            "VisibilityTimeout": str(queue.visibility),
        }
        return {"Attributes": {name: value for name, value in found.items() if {name, "All"} & {*AttributeNames}}}

    def get_queue_url(self, *, QueueName: str) -> dict[str, Any]:  # noqa: N803
        return {"QueueUrl": self._known("GetQueueUrl", QueueName).url}

    def purge_queue(self, *, QueueUrl: str) -> dict[str, Any]:  # noqa: N803
        """At once, as AWS promises it within a minute only; messages in flight are purged too."""
        operation = "PurgeQueue"
        queue, now = self._known(operation, QueueUrl), self._now()
        if now < queue.purged_until:
            raise refusal("AWS.SimpleQueueService.PurgeQueueInProgress", operation)
        queue.purged_until = now + PURGE_SECONDS
        for message in queue.messages.all():
            queue.messages.remove(message)
        return {}

    def start_message_move_task(self, *, SourceArn: str, DestinationArn: str | None = None) -> dict[str, Any]:  # noqa: N803
        """Redrive: at once, as AWS does it message by message; those in flight stay, as do those sent by hand."""
        operation = "StartMessageMoveTask"
        source = self._of_arn(operation, SourceArn)
        destination = None if DestinationArn is None else self._of_arn(operation, DestinationArn)
        if not any(queue.dead_letters == source.name for queue in self._queues.values()):
            raise refusal("InvalidParameterValue", operation, "Source queue must be configured as a Dead Letter Queue.")
        source.messages.advance(self._now())
        for message in source.messages.all():
            queue = destination or (None if message.source is None else self._of_arn(operation, message.source))
            if queue is not None and message.invisible_until is None:
                self._redrive(source, message, queue)
        return {"TaskHandle": f"redrive of {source.name}"}

    def _redrive(self, source: Queue, message: Message, queue: Queue) -> None:
        """Under a new id, and as new as any message
        (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html).
        """
        source.messages.remove(message)
        queue.messages.append(
            Message(self._new_id(), message.body, message.group, message.deduplication, message.attributes, self._now())
        )
        queue.changed()

    # --- sending ---

    def send_message(self, *, QueueUrl: str, **entry: Any) -> dict[str, Any]:  # noqa: N803
        return self._send("SendMessage", self._known("SendMessage", QueueUrl), entry)

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803
        operation = "SendMessageBatch"
        queue = self._known(operation, QueueUrl)
        _check_batch(operation, Entries)
        if sum(_bytes(entry) for entry in Entries) > MOST_BYTES:
            raise refusal("AWS.SimpleQueueService.BatchRequestTooLong", operation)
        return _each(Entries, lambda entry: self._send(operation, queue, entry))

    def _send(self, operation: str, queue: Queue, entry: Mapping[str, Any]) -> dict[str, Any]:
        body, group = entry.get("MessageBody"), entry.get("MessageGroupId")
        if not body:
            raise refusal("MissingParameter", operation, "The request must contain the parameter MessageBody.")
        if not group:
            raise refusal("MissingParameter", operation, "The request must contain the parameter MessageGroupId.")
        if not _FIFO_ID.fullmatch(group):
            raise refusal("InvalidParameterValue", operation, "MessageGroupId can only include alphanumeric and punct.")
        if entry.get("DelaySeconds"):
            raise refusal("InvalidParameterValue", operation, "The request include parameter that is not valid: Delay")
        if _NO_TEXT.search(body):
            raise refusal("InvalidMessageContents", operation, "Invalid characters in message body")
        if _bytes(entry) > MOST_BYTES:
            raise refusal("InvalidParameterValue", operation, f"Message must be shorter than {MOST_BYTES} bytes.")
        deduplication = entry.get("MessageDeduplicationId")
        if deduplication is None:
            if not queue.content_based:
                raise refusal("InvalidParameterValue", operation, "The queue should have ContentBasedDeduplication")
            deduplication = hashlib.sha256(body.encode()).hexdigest()
        elif not _FIFO_ID.fullmatch(deduplication):
            raise refusal(
                "InvalidParameterValue", operation, "MessageDeduplicationId can only include punct. and so on"
            )
        name, sequence = self._put(queue, body, group, deduplication, entry.get("MessageAttributes", {}))
        return {"MessageId": name, "SequenceNumber": sequence, "MD5OfMessageBody": _md5(body)}

    def _put(
        self, queue: Queue, body: str, group: str, deduplication: str, attributes: Mapping[str, Any]
    ) -> tuple[str, str]:
        """Id and sequence number: of the new message, or of the one that this is a duplicate of."""
        now = self._now()
        while queue.recent_ends and queue.recent_ends[0][0] <= now:
            del queue.recent[queue.recent_ends.popleft()[1]]
        scope = (group if queue.deduplicates_by_group else "", deduplication)
        if scope in queue.recent:
            return queue.recent[scope][1:]
        message = Message(self._new_id(), body, group, deduplication, attributes, now)
        queue.messages.append(message)
        queue.history.append((now, body))
        queue.recent[scope] = now + DEDUPLICATION_SECONDS, message.id, _sequence_number(message)
        queue.recent_ends.append((now + DEDUPLICATION_SECONDS, scope))
        queue.changed()
        return message.id, _sequence_number(message)

    # --- receiving ---

    def receive_message(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        MaxNumberOfMessages: int = 1,  # noqa: N803
        VisibilityTimeout: int | None = None,  # noqa: N803
        WaitTimeSeconds: int = 0,  # noqa: N803
        MessageSystemAttributeNames: Sequence[str] = (),  # noqa: N803
        MessageAttributeNames: Sequence[str] = (),  # noqa: N803
        AttributeNames: Sequence[str] = (),  # noqa: N803
    ) -> dict[str, Any]:
        operation = "ReceiveMessage"
        queue = self._known(operation, QueueUrl)
        if not (1 <= MaxNumberOfMessages <= MOST_ENTRIES and 0 <= WaitTimeSeconds <= 20):
            raise refusal("InvalidParameterValue", operation, "MaxNumberOfMessages or WaitTimeSeconds is out of range")
        visibility = queue.visibility if VisibilityTimeout is None else VisibilityTimeout
        system = {*MessageSystemAttributeNames, *AttributeNames}
        found = []
        for message in queue.messages.receive(self._now(), MaxNumberOfMessages, visibility):
            if queue.dead_letters is not None and message.receives > queue.most_receives:
                self._bury(queue, message, self._queues[queue.dead_letters])
            else:
                found.append(_received(message, system, {*MessageAttributeNames}))
        return {"Messages": found} if found else {}

    def _bury(self, queue: Queue, message: Message, dead_letters: Queue) -> None:
        """Move a message; on a FIFO queue its retention begins anew, and its id is what it is deduplicated by."""
        queue.messages.remove(message)
        moved = Message(
            message.id, message.body, message.group, message.id, message.attributes, self._now(), source=queue.arn
        )
        moved.receives, moved.first_received_at = message.receives - 1, message.first_received_at
        dead_letters.messages.append(moved)
        dead_letters.changed()

    # --- visibility and deletion ---

    def change_message_visibility(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        ReceiptHandle: str,  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
    ) -> dict[str, Any]:
        operation = "ChangeMessageVisibility"
        entry = {"ReceiptHandle": ReceiptHandle, "VisibilityTimeout": VisibilityTimeout}
        return self._change(operation, self._known(operation, QueueUrl), entry)

    def change_message_visibility_batch(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        Entries: Sequence[Mapping[str, Any]],  # noqa: N803
    ) -> dict[str, Any]:
        operation = "ChangeMessageVisibilityBatch"
        queue = self._known(operation, QueueUrl)
        _check_batch(operation, Entries)
        return _each(Entries, lambda entry: self._change(operation, queue, entry))

    def _change(self, operation: str, queue: Queue, entry: Mapping[str, Any]) -> dict[str, Any]:
        now, timeout = self._now(), entry["VisibilityTimeout"]
        queue.messages.advance(now)
        if not 0 <= timeout <= LONGEST_VISIBILITY:
            raise refusal("InvalidParameterValue", operation, f"VisibilityTimeout {timeout} is out of range")
        message = self._of_receipt(operation, queue, entry["ReceiptHandle"])
        if message is None or message.invisible_until is None or message.receipt != entry["ReceiptHandle"]:
            raise refusal("MessageNotInflight", operation, "The message referred to isn't in flight.")
        if now + timeout > message.received_at + LONGEST_VISIBILITY:
            raise refusal("InvalidParameterValue", operation, "Total VisibilityTimeout is beyond the limit [43200 s]")
        queue.messages.change_visibility(message, now + timeout, now)
        queue.changed()
        return {}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> dict[str, Any]:  # noqa: N803
        operation = "DeleteMessage"
        return self._delete(operation, self._known(operation, QueueUrl), {"ReceiptHandle": ReceiptHandle})

    def delete_message_batch(self, *, QueueUrl: str, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803
        operation = "DeleteMessageBatch"
        queue = self._known(operation, QueueUrl)
        _check_batch(operation, Entries)
        return _each(Entries, lambda entry: self._delete(operation, queue, entry))

    def _delete(self, operation: str, queue: Queue, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Deleting twice succeeds; with a receipt of which the visibility has ended, not on a FIFO queue."""
        queue.messages.advance(self._now())
        message = self._of_receipt(operation, queue, entry["ReceiptHandle"])
        if message is None:
            return {}
        if message.invisible_until is None or message.receipt != entry["ReceiptHandle"]:
            raise refusal(
                "InvalidParameterValue",
                operation,
                f"Value {entry['ReceiptHandle']} for parameter ReceiptHandle is invalid. "
                f"Reason: The receipt handle has expired.",
            )
        queue.messages.remove(message)
        queue.changed()
        return {}

    # --- what they share ---

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._ids:08x}-0000-4000-8000-000000000000"

    def _of_arn(self, operation: str, arn: str) -> Queue:
        try:
            return self._queues[arn.rsplit(":", 1)[-1]]
        except KeyError:
            raise refusal("ResourceNotFoundException", operation, kind=ResourceNotFoundException) from None

    def _known(self, operation: str, url: str) -> Queue:
        try:
            return self.queue(url)
        except KeyError:
            raise refusal("AWS.SimpleQueueService.NonExistentQueue", operation) from None

    def _of_receipt(self, operation: str, queue: Queue, receipt: str) -> Message | None:
        """The message of a receipt, stale or not; None if it is gone."""
        parts = receipt.split("/")
        if len(parts) != 3:
            raise refusal("ReceiptHandleIsInvalid", operation, "The input receipt handle is invalid.")
        message = queue.messages.find(parts[0])
        return message if message is not None and str(message.sequence) == parts[1] else None


def _each(
    entries: Sequence[Mapping[str, Any]], handle: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """A batch's answer: what came of each entry by itself."""
    answer: dict[str, list[dict[str, Any]]] = {"Successful": [], "Failed": []}
    for entry in entries:
        try:
            answer["Successful"].append({"Id": entry["Id"], **handle(entry)})
        except ClientError as error:
            told = error.response["Error"]
            failed = {"Id": entry["Id"], "Code": told["Code"], "Message": told["Message"], "SenderFault": True}
            answer["Failed"].append(failed)
    return {name: some for name, some in answer.items() if some}


def _check_batch(operation: str, entries: Sequence[Mapping[str, Any]]) -> None:
    ids = [entry["Id"] for entry in entries]
    if not ids:
        raise refusal("AWS.SimpleQueueService.EmptyBatchRequest", operation)
    if len(ids) > MOST_ENTRIES:
        raise refusal("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", operation)
    if len({*ids}) < len(ids):
        raise refusal("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", operation)
    if not all(_ENTRY_ID.fullmatch(name) for name in ids):
        raise refusal("AWS.SimpleQueueService.InvalidBatchEntryId", operation)


def _received(message: Message, system: set[str], attributes: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "MessageId": message.id,
        "ReceiptHandle": message.receipt,
        "MD5OfBody": _md5(message.body),
        "Body": message.body,
    }
    told = {
        "ApproximateReceiveCount": str(message.receives),
        "ApproximateFirstReceiveTimestamp": str(round(message.first_received_at * 1000)),
        "SentTimestamp": str(round(message.sent_at * 1000)),
        "MessageGroupId": message.group,
        "MessageDeduplicationId": message.deduplication,
        "SequenceNumber": _sequence_number(message),
        "SenderId": "AIDAEXAMPLE",
    }
    if message.source is not None:
        told["DeadLetterQueueSourceArn"] = message.source
    if told := told if "All" in system else {name: value for name, value in told.items() if name in system}:
        found["Attributes"] = told
    wanted = {name: value for name, value in message.attributes.items() if {"All", name} & attributes}
    if wanted:
        found["MessageAttributes"] = wanted
    return found


def _bytes(entry: Mapping[str, Any]) -> int:
    body: str = entry.get("MessageBody", "")
    size = len(body) if body.isascii() else len(body.encode(errors="surrogatepass"))
    for name, value in entry.get("MessageAttributes", {}).items():
        size += (
            len(name) + len(value["DataType"]) + len(value.get("StringValue", "")) + len(value.get("BinaryValue", b""))
        )
    return size


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _sequence_number(message: Message) -> str:
    return f"{18_800_000_000_000_000_000 + message.sequence}"
