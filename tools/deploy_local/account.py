"""An emulated account: clients, what is heard on a bus, and what is left of an environment."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import boto3

from rollcall.core import names
from tools.local_cloud.isolation import REGION

#: What a receive waits for, at most (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html: 20).
HEARING_SECONDS = 1


class Account:
    """Clients of the emulator at `endpoint`, with the credentials of this process."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._session = boto3.Session(region_name=REGION)

    def client(self, service: str) -> Any:
        return self._session.client(service, endpoint_url=self._endpoint)  # type: ignore[call-overload]

    def number(self) -> str:
        """The account's."""
        number: str = self.client("sts").get_caller_identity()["Account"]
        return number

    # --- the bus ---

    def listen(self, bus: str) -> "Heard":
        """Hear everything that is put on `bus` from now on."""
        sqs, events, name = self.client("sqs"), self.client("events"), f"{bus}-heard"
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        pattern = json.dumps({"source": [{"prefix": ""}]})
        events.put_rule(Name=name, EventBusName=bus, EventPattern=pattern)
        events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "heard", "Arn": attributes["QueueArn"]}])
        return Heard(sqs, events, bus, name, url)

    # --- what is left ---

    def left_of(self, environment: str) -> list[str]:
        """Everything whose name is the environment's: kinds and names."""
        prefix = names.bus_name(environment)
        return [f"{kind} {name}" for kind, found in self._everything() for name in found if prefix in name]

    def empty(self, bucket: str) -> None:
        """Delete all objects: a bucket with objects is not deleted."""
        s3 = self.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            keys = [{"Key": each["Key"]} for each in page.get("Contents", [])]
            if keys:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})

    def _everything(self) -> Iterator[tuple[str, Iterable[str]]]:
        yield "table", self.client("dynamodb").list_tables()["TableNames"]
        yield "queue", self.client("sqs").list_queues().get("QueueUrls", [])
        yield "bus", _named("Name", self.client("events").list_event_buses()["EventBuses"])
        yield "bucket", _named("Name", self.client("s3").list_buckets()["Buckets"])
        yield "role", self._paged("iam", "list_roles", "Roles", "RoleName")
        yield "function", self._paged("lambda", "list_functions", "Functions", "FunctionName")
        yield "layer", self._paged("lambda", "list_layers", "Layers", "LayerName")
        yield "mapping", self._paged("lambda", "list_event_source_mappings", "EventSourceMappings", "FunctionArn")
        yield "log group", self._paged("logs", "describe_log_groups", "logGroups", "logGroupName")
        yield "schedule", self._paged("scheduler", "list_schedules", "Schedules", "Name")
        yield "alarm", self._paged("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName")
        yield "topic", self._paged("sns", "list_topics", "Topics", "TopicArn")
        stacks = self._paged("cloudformation", "describe_stacks", "Stacks", "StackName")
        yield "stack", stacks

    def _paged(self, service: str, operation: str, items: str, name: str) -> list[str]:
        pages = self.client(service).get_paginator(operation).paginate()
        return [each[name] for page in pages for each in page.get(items, [])]


def _named(field: str, found: Iterable[dict[str, Any]]) -> list[str]:
    return [each[field] for each in found]


class Heard:
    """What was put on a bus."""

    def __init__(self, sqs: Any, events: Any, bus: str, name: str, url: str) -> None:
        self._sqs, self._events = sqs, events
        self._bus, self._name, self._url = bus, name, url
        self._details: list[dict[str, Any]] = []

    def details(self) -> list[dict[str, Any]]:
        """The details of all events so far."""
        while messages := self._receive():
            for message in messages:
                self._details.append(json.loads(message["Body"])["detail"])
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return self._details

    def _receive(self) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=HEARING_SECONDS)
        found: list[dict[str, Any]] = answer.get("Messages", [])
        return found

    def end(self) -> None:
        """Leave nothing behind."""
        self._events.remove_targets(Rule=self._name, EventBusName=self._bus, Ids=["heard"])
        self._events.delete_rule(Name=self._name, EventBusName=self._bus)
        self._sqs.delete_queue(QueueUrl=self._url)
