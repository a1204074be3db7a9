"""moto answers, while it is quick, what it answers otherwise."""

import importlib
import random
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core.utils import method_names_from_class
from moto.moto_api._internal import mock_random

from rollcall.adapters.clients import Clients
from tests.functional.quick_moto import quick

pytestmark = pytest.mark.on_moto

STEPS = 120
TABLE, BUCKET = "things", "things"
#: Attributes of all types.
VALUES: list[Any] = [
    {"S": "a"},
    {"N": "7"},
    {"B": b"\x00\xff"},
    {"SS": ["a", "b"]},
    {"NS": ["1", "2"]},
    {"BS": [b"x", b"y"]},
    {"L": [{"S": "a"}, {"M": {"n": {"N": "1"}}}]},
    {"M": {"a": {"L": []}, "b": {"NULL": True}}},
    {"BOOL": False},
]
UPDATES = [
    "SET #a = :v",
    "SET #a = if_not_exists(#a, :v), #b = :v",
    "SET #a = #b",
    "SET #a = list_append(:v, #b)",
    "SET #a = #a + :v",
    "SET #a.#b = :v",
    "SET #a[1] = :v REMOVE #b",
    "REMOVE #a, #b",
    "ADD #a :v",
    "DELETE #a :v",
    "ADD #a :v SET #b = :v",
    "SET #a = :v SET #b = :v",
    "SET",
    "SET #a = :nobody",
]
CONDITIONS = [
    "attribute_exists(#a)",
    "attribute_not_exists(#a)",
    "#a = :v OR contains(#b, :v)",
    "size(#a) > :v",
    "#a <",
]


class Story:
    """Random requests, the same for the same seed."""

    def __init__(self, clients: Clients, seed: int) -> None:
        self.clients = clients
        self.chance = random.Random(seed)  # noqa: S311
        self.receipts = ["no-such-receipt"]

    def told(self) -> Iterator[Any]:
        """What each request was answered."""
        clients = self.clients
        clients.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield clients.dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        )
        yield clients.dynamodb.describe_table(TableName=TABLE)
        fifo: Any = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        self.url = clients.sqs.create_queue(QueueName="things.fifo", Attributes=fifo)["QueueUrl"]
        for _ in range(STEPS):
            step = self.chance.choice([self.put, self.update, self.update, self.update, self.transact, self.read])
            step = self.chance.choice([step, step, step, self.send, self.receive, self.keep])
            try:
                yield step()
            except ClientError as error:
                yield error.response
            except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:  # moto breaks down
                yield f"{type(error).__name__}: {error}"

    def key(self) -> dict[str, Any]:
        return {"pk": {"S": self.chance.choice("xyz")}}

    def expressions(self) -> dict[str, Any]:
        texts = {"UpdateExpression": self.chance.choice(UPDATES)}
        if self.chance.random() < 0.3:
            texts["ConditionExpression"] = self.chance.choice(CONDITIONS)
        names, values = {"#a": "one", "#b": "two"}, {":v": self.chance.choice(VALUES)}
        named = {name: value for name, value in names.items() if any(name in text for text in texts.values())}
        used = {name: value for name, value in values.items() if any(name in text for text in texts.values())}
        more = {"ExpressionAttributeNames": named, "ExpressionAttributeValues": used}
        return {
            "TableName": TABLE,
            "Key": self.key(),
            **texts,
            **{name: value for name, value in more.items() if value},
        }

    def put(self) -> Any:
        item = self.key() | {name: self.chance.choice(VALUES) for name in ("one", "two")}
        return self.clients.dynamodb.put_item(TableName=TABLE, Item=item, ReturnValues="ALL_OLD")

    def update(self) -> Any:
        returned: Any = self.chance.choice(["NONE", "ALL_OLD", "ALL_NEW", "UPDATED_NEW"])
        return self.clients.dynamodb.update_item(**self.expressions(), ReturnValues=returned)

    def transact(self) -> Any:
        writes: Any = [{"Update": self.expressions()} for _ in range(2)]
        return self.clients.dynamodb.transact_write_items(TransactItems=writes)

    def read(self) -> Any:
        keys: Any = {TABLE: {"Keys": [{"pk": {"S": key}} for key in "xyz"]}}
        return self.clients.dynamodb.scan(TableName=TABLE), self.clients.dynamodb.batch_get_item(RequestItems=keys)

    def send(self) -> Any:
        texts = [str(self.chance.randint(0, 9)) for _ in range(3)]
        entries: Any = [{"Id": text, "MessageBody": text, "MessageGroupId": text} for text in texts]
        return self.clients.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)

    def receive(self) -> Any:
        if self.chance.random() < 0.3:
            receipt = self.chance.choice(self.receipts)
            return self.clients.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=receipt)
        found = self.clients.sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=3, MessageSystemAttributeNames=["MessageGroupId"]
        )
        self.receipts += [message["ReceiptHandle"] for message in found.get("Messages", [])]
        return found

    def keep(self) -> Any:
        key, s3 = self.chance.choice(["a", "b/c", "nothing"]), self.clients.s3
        if key != "nothing":
            s3.put_object(Bucket=BUCKET, Key=key, Body=b"1", Metadata={"a": "b"}, IfNoneMatch="*")
        return s3.list_objects_v2(Bucket=BUCKET), s3.head_object(Bucket=BUCKET, Key=key)


def told(clients: Clients, seed: int, *, quickly: bool) -> list[Any]:
    with quick() if quickly else nullcontext(), mock_aws():
        mock_random.seed(seed)
        return [_without_times(answer) for answer in Story(clients, seed).told()]


def _without_times(value: Any) -> Any:
    """An answer without its times, and of its headers only the status."""
    match value:
        case {"HTTPStatusCode": status}:
            return status
        case dict():
            return {name: _without_times(each) for name, each in value.items()}
        case list() | tuple():
            return [_without_times(each) for each in value]
        case datetime():
            return "a time"
    return value


@pytest.mark.parametrize("seed", range(3))
def test_it_answers_as_ever(clients: Clients, seed: int) -> None:
    as_ever = told(clients, seed, quickly=False)
    assert told(clients, seed, quickly=True) == as_ever
    refused = [each["Error"]["Code"] for each in as_ever if isinstance(each, dict) and "Error" in each]
    assert len(refused) > STEPS / 10
    assert len(set(refused)) >= 4


def test_it_is_in_place_while_it_is_asked_for() -> None:
    responses = importlib.import_module("moto.core.responses")
    with quick():
        assert responses.method_names_from_class is not method_names_from_class
    assert responses.method_names_from_class is method_names_from_class
