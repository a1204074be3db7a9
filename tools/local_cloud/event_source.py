"""An event source mapping of SQS, by AWS's rules, written once for local cloud and simulation.

A batch of up to ten messages goes to the function; what the answer does not list is deleted, what it lists stays
until its visibility ends. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools.local_cloud.partial_batch import failed_items

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

#: The longest that ReceiveMessage waits
#: (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html).
LONG_POLL_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one receive."""

    messages: Sequence["MessageTypeDef"]

    @property
    def ids(self) -> list[str]:
        return [message["MessageId"] for message in self.messages]

    def event(self, queue_arn: str) -> dict[str, Any]:
        """The event that Lambda makes of it."""
        return {"Records": [_record(message, queue_arn) for message in self.messages]}


def _record(message: "MessageTypeDef", queue_arn: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message.get("Attributes", {})),
        "messageAttributes": {
            name: {"stringValue": value.get("StringValue"), "dataType": value["DataType"]}
            for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }


def kept_on_queue(answer: object, ids: Collection[str]) -> set[str]:
    """Which messages of a batch stay, by the function's answer: all by one that names others, or makes no sense."""
    everything, failed = set(ids), failed_items(answer)
    if failed is None or not all(isinstance(name, str) and name in everything for name in failed):
        return everything
    return everything & {*failed}


class EventSource:
    """The steps of a mapping; whoever drives it decides how many go on at once, up to MaximumConcurrency."""

    def __init__(self, client: "SQSClient", queue_url: str, queue_arn: str, batch_size: int) -> None:
        self._client = client
        self._url = queue_url
        self._arn = queue_arn
        self._batch_size = batch_size

    def receive(self, wait_seconds: int = LONG_POLL_SECONDS) -> Batch | None:
        """The next batch, or None if there was nothing."""
        answer = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=self._batch_size,
            WaitTimeSeconds=wait_seconds,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        return Batch(messages) if messages else None

    def invoke(self, batch: Batch, function: Callable[[dict[str, Any]], object]) -> set[str]:
        """The ids that stay: as the answer says, or all where the function fails."""
        try:
            answer = function(batch.event(self._arn))
        except Exception:
            return set(batch.ids)
        return kept_on_queue(answer, batch.ids)

    def delete(self, batch: Batch, kept: Collection[str]) -> None:
        """Take what does not stay off the queue."""
        gone = [message for message in batch.messages if message["MessageId"] not in kept]
        if gone:
            self._client.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                    for number, message in enumerate(gone)
                ],
            )
