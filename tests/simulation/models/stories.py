"""Words for stories that are told to a model and to the emulators alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeVar

from botocore.exceptions import ClientError

from tests.simulation.models.differences import Difference
from tests.simulation.models.services import Services, SimulatedClients

TABLE = "ledger"
#: As boto3 calls them.
SERVICES = ("dynamodb", "dynamodbstreams", "sqs", "s3", "events", "lambda", "secretsmanager", "stepfunctions")
BROKEN = "breaks down"
_NAMES = count()
_AS_DOCUMENTED: Final[Any] = object()

Seen = TypeVar("Seen")


@dataclass
class StoryClock:
    """Seconds since 1970, which pass when a story says so."""

    seconds: float = 1_800_000_000.0
    #: Told every time that comes.
    on_change: list[Callable[[float], None]] = field(default_factory=list)

    def later(self, seconds: float) -> None:
        self.seconds += seconds
        for tell in self.on_change:
            tell(self.seconds)


@dataclass(frozen=True)
class Side:
    """One of those that hear a story, as boto3's clients: their types are the story's business."""

    #: "model", "moto" or "ministack".
    name: str
    dynamodb: Any
    sqs: Any
    s3: Any
    events: Any
    lambda_: Any
    secretsmanager: Any
    stepfunctions: Any
    #: The client that reads a stream, by its ARN.
    streams: Callable[[str], Any]
    #: The models; None for an emulator.
    services: Services | None = None

    def expected(
        self,
        difference: Difference,
        documented: Seen,
        *,
        moto: Seen = _AS_DOCUMENTED,
        ministack: Seen = _AS_DOCUMENTED,
    ) -> Seen:
        """What this side has to show: what AWS documents, or what the emulator does instead."""
        instead = {"moto": moto, "ministack": ministack}
        assert {name for name, seen in instead.items() if seen is not _AS_DOCUMENTED} == difference.sides
        seen = instead.get(self.name, _AS_DOCUMENTED)
        return documented if seen is _AS_DOCUMENTED else seen

    def broken_or(self, act: Callable[[], Seen]) -> Seen | str:
        """What comes of it; BROKEN where an emulator fails with an error of Python's."""
        if self.name == "model":
            return act()
        try:
            return act()
        except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError):
            return BROKEN

    def differs(self, difference: Difference) -> bool:
        """Whether this side is one that does otherwise."""
        return self.name in difference.sides

    def queue(self, **attributes: str) -> "StoryQueue":
        """A new FIFO queue in high-throughput mode, with content-based deduplication."""
        name = f"{new_name('story')}.fifo"
        usual = {
            "FifoQueue": "true",
            "ContentBasedDeduplication": "true",
            "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId",
            "VisibilityTimeout": "30",
        }
        url = self.sqs.create_queue(QueueName=name, Attributes=usual | attributes)["QueueUrl"]
        return StoryQueue(self.sqs, url)

    def changes(self, stream: str) -> list[dict[str, Any]]:
        """All records of a stream, from its beginning; to be asked for once."""
        client, found = self.streams(stream), []
        for shard in client.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]:
            iterator = client.get_shard_iterator(
                StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while some := (answer := client.get_records(ShardIterator=iterator))["Records"]:
                found += some
                iterator = answer["NextShardIterator"]
        return found

    def table(self) -> "StoryItem":
        """An item that is not there yet."""
        return StoryItem(self.dynamodb, {"pk": {"S": new_name("item")}})


@dataclass(frozen=True)
class StoryQueue:
    """A queue in a story."""

    sqs: Any
    url: str

    @property
    def arn(self) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    def send(self, body: str, group: str = "g", **more: Any) -> str:
        """The message's id."""
        return str(
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body, MessageGroupId=group, **more)["MessageId"]
        )

    def receive(self, most: int = 1, **more: Any) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=most,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
            **more,
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def bodies(self, most: int = 1, **more: Any) -> list[str]:
        return [message["Body"] for message in self.receive(most, **more)]

    def delete(self, message: Mapping[str, Any]) -> None:
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def counts(self) -> tuple[int, int, int]:
        """How many messages are visible, in flight, and delayed."""
        names = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        visible, in_flight, delayed = (int(found[name]) for name in names)
        return visible, in_flight, delayed

    def put_off(self, message: Mapping[str, Any], seconds: int) -> None:
        self.sqs.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds
        )


@dataclass(frozen=True)
class StoryItem:
    """An item in a story."""

    dynamodb: Any
    key: dict[str, Any]

    def put(self, **attributes: Mapping[str, Any]) -> None:
        self.dynamodb.put_item(TableName=TABLE, Item={**self.key, **attributes})

    def update(
        self,
        expression: str,
        values: Mapping[str, Any] | None = None,
        *,
        when: str | None = None,
        names: Mapping[str, str] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """The attributes that the answer has."""
        request: dict[str, Any] = {"TableName": TABLE, "Key": self.key, "UpdateExpression": expression, **more}
        if when is not None:
            request["ConditionExpression"] = when
        if values is not None:
            request["ExpressionAttributeValues"] = values
        if names is not None:
            request["ExpressionAttributeNames"] = names
        return comparable(self.dynamodb.update_item(**request).get("Attributes", {}))

    def get(self) -> dict[str, Any]:
        """The item without its key; empty where there is none."""
        answer = self.dynamodb.get_item(TableName=TABLE, Key=self.key, ConsistentRead=True)
        return comparable(answer.get("Item", {}))

    def holds(self, condition: str, values: Mapping[str, Any] | None = None) -> bool:
        """Whether a condition holds on the item as it is."""
        try:
            self.update("REMOVE untouched", values, when=condition)
        except ClientError as error:
            assert code(error) == "ConditionalCheckFailedException", error  # noqa: PT017
            return False
        return True


def comparable(item: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes without the key, sets in one order."""
    return {
        name: {kind: sorted(value) if kind in {"NS", "SS"} else value for kind, value in attribute.items()}
        for name, attribute in item.items()
        if name != "pk"
    }


def code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def refused(act: Callable[[], object]) -> str:
    """The code with which something is refused; empty where it is not."""
    try:
        act()
    except ClientError as error:
        return code(error)
    return ""


def new_name(kind: str) -> str:
    """A name that nothing has yet."""
    return f"{kind}-{next(_NAMES)}"


def make_table(dynamodb: Any, name: str = TABLE, **more: Any) -> str:
    """Make a table with a stream; returns the stream's ARN."""
    request = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    }
    return str(dynamodb.create_table(**request | more)["TableDescription"]["LatestStreamArn"])


def model_side(clock: StoryClock) -> Side:
    services = Services.new(lambda: clock.seconds, {TABLE: "pk"})
    clients = SimulatedClients(services)
    return Side(
        "model",
        clients.dynamodb,
        clients.sqs,
        clients.s3,
        clients.events,
        clients.lambda_,
        clients.secretsmanager,
        clients.stepfunctions,
        services.dynamodb.stream,
        services,
    )


def emulated_side(name: str, clients: Mapping[str, Any]) -> Side:
    return Side(
        name,
        clients["dynamodb"],
        clients["sqs"],
        clients["s3"],
        clients["events"],
        clients["lambda"],
        clients["secretsmanager"],
        clients["stepfunctions"],
        lambda _: clients["dynamodbstreams"],
    )
