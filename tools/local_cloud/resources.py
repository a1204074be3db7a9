"""What `cdk deploy` would make, made in MiniStack from the same settings of the core."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rollcall.adapters.bus import SOURCE
from rollcall.core import names
from rollcall.core.job import Job
from rollcall.core.sizing import (
    DEAD_LETTER_RETENTION,
    DEAD_LETTER_VISIBILITY,
    MAX_RECEIVE_COUNT,
    QUEUE_RETENTION,
    worker_sizing,
)
from rollcall.core.state_machine import definition_of
from rollcall.core.target import Bucket, Table
from rollcall.core.values import batched
from tools.local_cloud.isolation import REGION

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

ENVIRONMENT = "local"
#: MiniStack's own.
ACCOUNT = "000000000000"
LEDGER = names.ledger_name(ENVIRONMENT)
MANIFESTS = names.manifests_name(ENVIRONMENT, ACCOUNT, REGION)
BUS = names.bus_name(ENVIRONMENT)
#: Where the command line hears the announcements; no deployment has it.
ANNOUNCEMENTS = f"{BUS}-announcements"
#: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html
MOST_IN_A_BATCH = 25


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """A queue's URL and ARN."""

    url: str
    arn: str


def make_ledger(client: "DynamoDBClient") -> str:
    """Make the table, if it is not there, and return its stream's ARN."""
    if LEDGER not in client.list_tables()["TableNames"]:
        client.create_table(
            TableName=LEDGER,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
    return client.describe_table(TableName=LEDGER)["Table"]["LatestStreamArn"]


def make_table(client: "DynamoDBClient", table: Table) -> None:
    """Make a table that a job needs, if it is not there."""
    name = names.table_name(ENVIRONMENT, table.name)
    if name in client.list_tables()["TableNames"]:
        return
    keys = {table.key, *(key for _, *both in table.indexes for key in both)}
    indexes = [
        {
            "IndexName": index,
            "KeySchema": [
                {"AttributeName": partition, "KeyType": "HASH"},
                {"AttributeName": sort, "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
        for index, partition, sort in table.indexes
    ]
    more: Any = {"GlobalSecondaryIndexes": indexes} if indexes else {}
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": table.key, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in sorted(keys)],
        **more,
    )


def fill_table(client: "DynamoDBClient", table: Table, items: Iterable[Mapping[str, object]]) -> None:
    """Write items into a table that has none; one that has some is left as it is. `client` is a resource's."""
    name = names.table_name(ENVIRONMENT, table.name)
    if client.scan(TableName=name, Limit=1)["Items"]:
        return
    for some in batched(items, MOST_IN_A_BATCH):
        puts: Any = [{"PutRequest": {"Item": item}} for item in some]
        while puts:
            puts = client.batch_write_item(RequestItems={name: puts})["UnprocessedItems"].get(name)


def make_manifests(client: "S3Client", region: str) -> None:
    """Make the bucket, if it is not there."""
    _make_bucket(client, MANIFESTS, region)


def _make_bucket(client: "S3Client", name: str, region: str) -> None:
    if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        client.create_bucket(
            Bucket=name,
            CreateBucketConfiguration={"LocationConstraint": region},  # type: ignore[typeddict-item]
        )


def bucket_name(bucket: Bucket) -> str:
    """The bucket that stands in for one of jobs."""
    return f"rollcall-{ENVIRONMENT}-{bucket.name}"


def make_bucket(client: "S3Client", bucket: Bucket) -> None:
    """Make a bucket that a job needs, if it is not there."""
    _make_bucket(client, bucket_name(bucket), REGION)


def make_bus(events: "EventBridgeClient", sqs: "SQSClient") -> QueueAddress:
    """Make the bus, and a queue that hears every announcement."""
    if BUS not in {bus["Name"] for bus in events.list_event_buses()["EventBuses"]}:
        events.create_event_bus(Name=BUS)
    heard = _make_queue(sqs, ANNOUNCEMENTS, {})
    events.put_rule(Name=ANNOUNCEMENTS, EventBusName=BUS, EventPattern=json.dumps({"source": [SOURCE]}))
    events.put_targets(Rule=ANNOUNCEMENTS, EventBusName=BUS, Targets=[{"Id": "announcements", "Arn": heard.arn}])
    return heard


def make_queues(client: "SQSClient", job: Job) -> tuple[QueueAddress, QueueAddress]:
    """Make the job's queue and its dead-letter queue."""
    dead_name, name = names.dead_letter_queue_name(ENVIRONMENT, job.name), names.queue_name(ENVIRONMENT, job.name)
    dead = _make_fifo_queue(client, dead_name, DEAD_LETTER_VISIBILITY, DEAD_LETTER_RETENTION)
    redrive = {"deadLetterTargetArn": dead.arn, "maxReceiveCount": MAX_RECEIVE_COUNT}
    visibility = worker_sizing(job).visibility
    queue = _make_fifo_queue(client, name, visibility, QUEUE_RETENTION, RedrivePolicy=json.dumps(redrive))
    return queue, dead


def make_state_machine(client: Any, job: Job, function: str) -> str:
    """Make the state machine of a pipeline or of a job in batches, or make it anew; returns its ARN."""
    name = names.state_machine_name(ENVIRONMENT, job.name)
    text = json.dumps(definition_of(job, _function_arn(function)))
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"
    try:
        client.update_state_machine(stateMachineArn=arn, definition=text)
    except client.exceptions.StateMachineDoesNotExist:
        role = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        return str(client.create_state_machine(name=name, definition=text, roleArn=role)["stateMachineArn"])
    return arn


def _function_arn(name: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def _make_fifo_queue(
    client: "SQSClient", name: str, visibility: timedelta, retention: timedelta, **more: str
) -> QueueAddress:
    attributes = {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "true",
        "DeduplicationScope": "messageGroup",
        "FifoThroughputLimit": "perMessageGroupId",
        "VisibilityTimeout": _seconds(visibility),
        "MessageRetentionPeriod": _seconds(retention),
    }
    return _make_queue(client, name, attributes | more)


def _seconds(time: timedelta) -> str:
    return str(int(time.total_seconds()))


def _make_queue(client: "SQSClient", name: str, attributes: dict[str, str]) -> QueueAddress:
    url = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]  # type: ignore[arg-type]
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return QueueAddress(url, arn)
