"""The job's FIFO queue: sending in batches with every result checked, and putting messages off."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rollcall.adapters.clients import AWS_ERRORS, words_of
from rollcall.core.clock import Clock
from rollcall.core.errors import RollcallError
from rollcall.core.message import SENT_AGAIN, Message
from rollcall.core.names import queue_name

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

logger = logging.getLogger(__name__)

#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
MOST_MESSAGES = 10
#: Below the 1 MiB of a batch, which counts attributes too (same page).
MOST_BYTES = 1024 * 1024 - 16 * 1024
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html
LONGEST_VISIBILITY = timedelta(hours=12)
#: The only failures that are the message's own fault for ever; throttles, too, come as sender faults.
CONTENT_ERRORS = frozenset({"InvalidMessageContents", "MessageTooLong"})
#: Tries of one batch, with waits of 0.2, 0.4, … seconds between them: about 6 s, besides the SDK's own.
MOST_TRIES = 6
FIRST_WAIT = timedelta(milliseconds=200)


class DispatchFailed(RollcallError):
    """The queue did not take messages, again and again."""


@dataclass(frozen=True)
class Outgoing:
    """A message to send."""

    message: Message
    #: Whether it may have been sent before by a dispatch that died.
    again: bool = False

    @cached_property
    def body(self) -> str:
        return self.message.body()


def batches(outgoing: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    """Cut by count and by bytes."""
    batch: list[Outgoing] = []
    size = 0
    for item in outgoing:
        length = len(item.body)
        if batch and (len(batch) == MOST_MESSAGES or size + length > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield batch


class Queue:
    """A FIFO queue with content-based deduplication."""

    def __init__(self, client: "SQSClient", url: str, clock: Clock) -> None:
        self._client = client
        self._url = url
        self._clock = clock

    def send(self, batch: Sequence[Outgoing], until: datetime) -> Mapping[int, str]:
        """Send up to ten messages; returns the reason by index of those that no queue would ever take.

        A duplicate within five minutes reports success. Raises DispatchFailed when tries are used up, or `until`
        has come: no request is made from then on.
        """
        waiting = list(batch)
        refused: dict[int, str] = {}
        trouble = ""
        for attempt in range(MOST_TRIES):
            if attempt:
                self._clock.sleep(FIRST_WAIT * 2 ** (attempt - 1))
            if self._clock.now() >= until:
                trouble = f"{trouble}; the lease ends"
                break
            try:
                answer = self._client.send_message_batch(
                    QueueUrl=self._url,
                    Entries=[_entry(str(number), item) for number, item in enumerate(waiting)],  # type: ignore[misc]
                )
            except AWS_ERRORS as error:
                trouble = words_of(error)
                continue
            failed = {int(failure["Id"]): failure for failure in answer.get("Failed", [])}
            for number, failure in failed.items():
                if failure["Code"] in CONTENT_ERRORS:
                    refused[waiting[number].message.index] = failure.get("Message", failure["Code"])
            taken = {int(success["Id"]) for success in answer.get("Successful", [])}
            waiting = [
                item for number, item in enumerate(waiting) if number not in taken and item.message.index not in refused
            ]
            if not waiting:
                return refused
            trouble = "; ".join(sorted({failure["Code"] for failure in failed.values()}))
        raise DispatchFailed(f"the queue did not take {len(waiting)} of {len(batch)} messages: {trouble}")

    def put_off(self, waits: Mapping[str, timedelta]) -> None:
        """Make received messages visible again after a wait, by receipt handle; whole seconds, rounded up.

        A receipt that is no longer valid is passed over: its message has another owner or is gone.
        """
        entries = [
            {
                "Id": str(number),
                "ReceiptHandle": receipt,
                "VisibilityTimeout": -(-min(wait, LONGEST_VISIBILITY) // timedelta(seconds=1)),
            }
            for number, (receipt, wait) in enumerate(waits.items())
        ]
        if entries:
            answer = self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)  # type: ignore[arg-type]
            for failure in answer.get("Failed", []):
                logger.debug("visibility not changed: %s", failure.get("Code"))


#: A message is in one of these states
#: (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html).
COUNTS: "tuple[QueueAttributeNameType, ...]" = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class Queues:
    """The jobs' queues of one environment, for counting."""

    def __init__(self, client: "SQSClient", environment: str) -> None:
        self._client = client
        self._environment = environment
        self._urls: dict[str, str] = {}

    def messages(self, job: str) -> int:
        """About how many messages the job's queue has, those in flight included; not the dead letters.

        The numbers of a queue are true within a minute after the last send.
        """
        answer = self._client.get_queue_attributes(QueueUrl=self.url(job), AttributeNames=[*COUNTS])
        counts: Mapping[str, str] = answer.get("Attributes", {})  # type: ignore[assignment]
        return sum(int(counts.get(name, "0")) for name in COUNTS)

    def url(self, job: str) -> str:
        """The address of the job's queue."""
        if job not in self._urls:
            name = queue_name(self._environment, job)
            self._urls[job] = self._client.get_queue_url(QueueName=name)["QueueUrl"]
        return self._urls[job]


def _entry(number: str, item: Outgoing) -> dict[str, Any]:
    entry: dict[str, Any] = {"Id": number, "MessageBody": item.body, "MessageGroupId": item.message.group}
    if item.again:
        entry["MessageAttributes"] = {SENT_AGAIN: {"DataType": "String", "StringValue": "1"}}
    return entry
