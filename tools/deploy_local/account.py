"""An emulated account: what there is in it, what is said on a bus, and what its functions did."""

import json
from collections.abc import Callable
from typing import Any

import boto3

from rollcall.adapters.clients import Clients
from rollcall.core.actions import Action
from tools.local_cloud.isolation import REGION
from tools.loopback import Keys

#: The most is 20: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
HEARING_SECONDS = 1
#: Lambda's own line at the beginning of each invocation.
INVOCATION = '"START RequestId"'


class _Session(boto3.Session):
    """Whose clients ask the emulator at `endpoint`, and nobody else."""

    def __init__(self, endpoint: str, keys: Keys) -> None:
        super().__init__(keys.access_key_id, keys.secret_access_key, region_name=REGION)
        self._endpoint = endpoint

    def client(self, service_name: str, **options: Any) -> Any:  # type: ignore[override]
        return super().client(service_name, endpoint_url=self._endpoint, **options)  # type: ignore[call-overload]


class Account:
    """The account behind the emulator at `endpoint`, which `keys` open."""

    def __init__(self, endpoint: str, keys: Keys) -> None:
        self._session = _Session(endpoint, keys)

    def client(self, service: str) -> Any:
        """A client of an AWS service."""
        return self._session.client(service)

    @property
    def clients(self) -> Clients:
        """As the commands of `rollcall` take them."""
        return Clients(self._session)

    def everything(self) -> frozenset[tuple[str, str]]:
        """All resources of the types in LISTED, each as its type and what tells it from others."""
        return frozenset((type_, name) for type_, listed in LISTED.items() for name in listed(self))

    def empty(self, bucket: str) -> None:
        """Delete all objects: a bucket with objects is not deleted."""
        s3 = self.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            if keys := [{"Key": each["Key"]} for each in page.get("Contents", [])]:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})

    def listen(self, bus: str) -> "Heard":
        """Hear everything that is put on `bus` from now on."""
        return Heard(self.client("sqs"), self.client("events"), bus)

    def switch_off(self, schedule: str) -> None:
        """Let a schedule start nothing any more."""
        scheduler = self.client("scheduler")
        found = scheduler.get_schedule(Name=schedule)
        kept = ("ScheduleExpression", "FlexibleTimeWindow", "Target")
        scheduler.update_schedule(Name=schedule, State="DISABLED", **{name: found[name] for name in kept})

    def invocations(self, function: str) -> int:
        """How often a function was invoked, as its log tells."""
        return self._logged(function, INVOCATION)

    def announcements(self, function: str) -> int:
        """How many runs a function announced, as its log tells."""
        return self._logged(function, f'"{Action.RUN_ANNOUNCED}"')

    def _logged(self, function: str, pattern: str) -> int:
        pages = self.client("logs").get_paginator("filter_log_events")
        found = pages.paginate(logGroupName=f"/aws/lambda/{function}", filterPattern=pattern)
        return sum(len(page["events"]) for page in found)

    def listed(self, service: str, operation: str, items: str, name: str) -> list[str]:
        """The field `name` of all `items` that `operation` lists."""
        client = self.client(service)
        if client.can_paginate(operation):
            pages = list(client.get_paginator(operation).paginate())
        else:
            pages = [getattr(client, operation)()]
        found = [each for page in pages for each in page.get(items, [])]
        return [each if isinstance(each, str) else each[name] for each in found]

    def keys(self) -> list[str]:
        """The encryption keys, but for those that are to be deleted: that takes a week at least."""
        client = self.client("kms")
        states = {
            id_: client.describe_key(KeyId=id_)["KeyMetadata"]["KeyState"]
            for id_ in self.listed("kms", "list_keys", "Keys", "KeyId")
        }
        return [id_ for id_, state in states.items() if state != "PendingDeletion"]


def _listing(service: str, operation: str, items: str, name: str = "") -> Callable[[Account], list[str]]:
    return lambda account: account.listed(service, operation, items, name)


#: How to find all resources of a type.
LISTED: dict[str, Callable[[Account], list[str]]] = {
    "AWS::CloudFormation::Stack": _listing("cloudformation", "describe_stacks", "Stacks", "StackName"),
    "AWS::CloudWatch::Alarm": _listing("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    "AWS::CloudWatch::Dashboard": _listing("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    "AWS::DynamoDB::Table": _listing("dynamodb", "list_tables", "TableNames"),
    "AWS::Events::EventBus": _listing("events", "list_event_buses", "EventBuses", "Name"),
    "AWS::IAM::ManagedPolicy": _listing("iam", "list_policies", "Policies", "PolicyName"),
    "AWS::IAM::Role": _listing("iam", "list_roles", "Roles", "RoleName"),
    "AWS::KMS::Key": lambda account: account.keys(),
    "AWS::Lambda::EventSourceMapping": _listing(
        "lambda", "list_event_source_mappings", "EventSourceMappings", "EventSourceArn"
    ),
    "AWS::Lambda::Function": _listing("lambda", "list_functions", "Functions", "FunctionName"),
    "AWS::Lambda::LayerVersion": _listing("lambda", "list_layers", "Layers", "LayerName"),
    "AWS::Logs::LogGroup": _listing("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "AWS::S3::Bucket": _listing("s3", "list_buckets", "Buckets", "Name"),
    "AWS::SNS::Topic": _listing("sns", "list_topics", "Topics", "TopicArn"),
    "AWS::SQS::Queue": _listing("sqs", "list_queues", "QueueUrls"),
    "AWS::Scheduler::Schedule": _listing("scheduler", "list_schedules", "Schedules", "Name"),
    "AWS::StepFunctions::StateMachine": _listing("stepfunctions", "list_state_machines", "stateMachines", "name"),
}
#: What is a part of another resource and cannot outlive it.
PARTS = frozenset({
    "AWS::IAM::Policy", "AWS::Lambda::EventInvokeConfig", "AWS::Lambda::Permission", "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy",
})  # fmt: skip


class Heard:
    """What is put on a bus, by way of a rule and a queue of its own."""

    def __init__(self, sqs: Any, events: Any, bus: str) -> None:
        self._sqs, self._events, self._bus, self._name = sqs, events, bus, f"{bus}-heard"
        self._url = sqs.create_queue(QueueName=self._name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]
        events.put_rule(Name=self._name, EventBusName=bus, EventPattern=json.dumps({"source": [{"prefix": ""}]}))
        target = {"Id": "heard", "Arn": attributes["QueueArn"]}
        events.put_targets(Rule=self._name, EventBusName=bus, Targets=[target])
        self._details: list[dict[str, Any]] = []

    def details(self) -> list[dict[str, Any]]:
        """The details of all events so far, after as long as one may take to arrive."""
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
