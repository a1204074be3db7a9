"""What the commands look for is what the stacks make, in every environment and for every job."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import boto3

from rollcall.adapters.clients import Clients
from rollcall.core.catalog import Declared
from rollcall.core.clock import SystemClock
from rollcall.core.run import RunRecord, RunState, run_id
from tests.stacks.cloud import PSEUDO, Cloud
from tools.cli.aws import deployed
from tools.cli.deployment import Deployment
from tools.cli.watching import Watch

NOW = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
#: Whatever is asked is noted, and answered with these.
ANSWERS: dict[str, dict[str, Any]] = {
    "GetCallerIdentity": {"Account": PSEUDO["AWS::AccountId"]},
    "BatchGetItem": {"Responses": {}},
    "GetObject": {"Body": SimpleNamespace(read=lambda: b"")},
    "GetQueueUrl": {"QueueUrl": ""},
}
FIELDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "BatchGetItem": lambda params: str(next(iter(json.loads(params["body"])["RequestItems"]))),
    "GetObject": lambda params: urlsplit(params["url"]).netloc.partition(".")[0],
    "GetQueueUrl": lambda params: str(json.loads(params["body"])["QueueName"]),
    "Invoke": lambda params: str(params["url_path"].split("/")[3]),
}


def asked(environment: str, ask: Callable[[Deployment], object]) -> str:
    """The name of what is asked for."""
    names: list[str] = []

    def answer(model: Any, params: dict[str, Any], **_: Any) -> tuple[object, dict[str, Any]]:
        if model.name in FIELDS:
            names.append(FIELDS[model.name](params))
        return SimpleNamespace(status_code=200), ANSWERS.get(model.name, {})

    session = boto3.Session("dummy", "dummy", region_name=PSEUDO["AWS::Region"])
    session.events.register("before-call", answer)  # type: ignore[arg-type]
    with deployed(environment, Clients(session)) as deployment:
        ask(deployment)
    (name,) = names
    return name


def test_the_ledger_is_found(cloud: Cloud) -> None:
    name = asked(cloud.environment.name, lambda deployment: deployment.ledger.job("any"))
    assert cloud.one("AWS::DynamoDB::Table", TableName=name)


def test_the_manifests_are_found(cloud: Cloud) -> None:
    run = RunRecord(run_id("any", NOW), "any", RunState.COMPLETE, NOW, NOW, nonce="sealed")
    name = asked(cloud.environment.name, lambda deployment: deployment.manifests.read(run, 0))
    assert cloud.one("AWS::S3::Bucket", BucketName=name)


def test_the_watchdog_is_found(cloud: Cloud) -> None:
    name = asked(cloud.environment.name, lambda deployment: deployment.functions.watch())
    assert cloud.function("watchdog")["FunctionName"] == name


def test_the_fan_out_of_a_job_is_found(case: tuple[Cloud, Declared]) -> None:
    cloud, declared = case
    job = declared.job.name
    name = asked(cloud.environment.name, lambda deployment: deployment.functions.start(job, NOW, "n", {}))
    assert cloud.function("fan_out", job)["FunctionName"] == name
    assert cloud.one("AWS::Lambda::Function", FunctionName=name)["Environment"]["Variables"]["ROLLCALL_JOB_MODULE"] == (
        declared.module
    )


def test_the_queue_of_a_job_is_found(queued: tuple[Cloud, Declared]) -> None:
    cloud, declared = queued
    name = asked(cloud.environment.name, lambda deployment: deployment.queues.url(declared.job.name))
    assert cloud.queue(name)["FifoQueue"]


def test_where_a_person_is_told_to_look_there_is_something(case: tuple[Cloud, Declared]) -> None:
    cloud, declared = case
    clients = Clients(boto3.Session("dummy", "dummy", region_name=PSEUDO["AWS::Region"]))
    clients.account = lambda: PSEUDO["AWS::AccountId"]  # type: ignore[method-assign]
    with deployed(cloud.environment.name, clients) as deployment:
        watch = Watch(deployment, declared.job, SystemClock(), lambda _: None, lambda _: None)
    assert cloud.one("AWS::Logs::LogGroup", LogGroupName=watch.log_group)
    assert cloud.queue(watch.undelivered)
