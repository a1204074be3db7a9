"""Permissions follow the code: no adapter asks for an action that nobody has, and nobody has one that none asks for."""

import ast
import re
from fnmatch import fnmatchcase as fnmatch
from itertools import permutations

import boto3

from rollcall.core import names
from rollcall.core.catalog import Declared
from rollcall.core.pipeline import Pipeline
from stacks.keys import item_of_target, items_of, standing_of, waiters_of
from tests.stacks.cloud import Cloud
from tests.stacks.deployed import ROOT, kinds_of

OF_A_JOB = ("fan_out", "worker", "dead_letter", "batch")
QUEUES = (names.queue_name, names.dead_letter_queue_name, names.undelivered_queue_name)
SERVICES = {"dynamodb", "s3", "sqs", "events", "lambda", "secretsmanager", "states"}
#: Where boto3 has another name for it.
CLIENTS = {"states": "stepfunctions"}
#: Operations that are allowed by actions of another name.
ACTIONS = {
    "dynamodb:TransactWriteItems": {"dynamodb:PutItem", "dynamodb:UpdateItem"},
    # Who may not list is told 403 of what is not there.
    "s3:HeadObject": {"s3:GetObject", "s3:ListBucket"},
    "lambda:Invoke": {"lambda:InvokeFunction"},
    "sqs:SendMessageBatch": {"sqs:SendMessage"},
    "sqs:ChangeMessageVisibilityBatch": {"sqs:ChangeMessageVisibility"},
}
#: What Lambda does in a function's name to fill its mappings and to deliver what failed; some of it we do as well.
OF_LAMBDA = {
    *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"),
    *("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"),
}


def operations() -> dict[str, str]:
    """Method of a boto3 client -> `service:Operation`."""
    found: dict[str, str] = {}
    for service in sorted(SERVICES):
        client = boto3.client(  # type: ignore[call-overload]
            CLIENTS.get(service, service),
            region_name="eu-west-1",
            aws_access_key_id="none",
            aws_secret_access_key="none",
        )
        methods: dict[str, str] = client.meta.method_to_api_mapping
        found |= {method: f"{service}:{operation}" for method, operation in methods.items()}
    return found


def asked_for() -> set[str]:
    """The actions behind all operations of boto3 that the adapters name."""
    known = operations()
    calls = {
        node.attr
        for file in (ROOT / "layers/rollcall/python/rollcall/adapters").rglob("*.py")
        # Sockets and streams have methods of the same names.
        if file.parent.name != "http"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
    }
    used = {known[name] for name in calls & known.keys()}
    return {action for operation in used for action in ACTIONS.get(operation, {operation})}


def test_the_functions_together_may_do_what_the_adapters_do_and_no_more(clouds: dict[str, Cloud]) -> None:
    """Between them, the two have a report in a bucket, a network and a job in batches."""
    granted = {
        action
        for cloud in (clouds["sample"], clouds["dev"])
        for function in cloud.of_type("AWS::Lambda::Function")
        for service in SERVICES
        for actions in cloud.allowed(function, service).values()
        for action in actions
    }
    assert granted - (OF_LAMBDA - asked_for()) == asked_for()
    assert granted >= OF_LAMBDA
    assert all(re.fullmatch(r"[a-z0-9]+:[A-Za-z]+", action) for action in granted)


def test_no_function_of_a_job_may_touch_what_is_another_jobs(cloud: Cloud) -> None:
    for job, other in permutations((each.job for each in cloud.jobs), 2):
        run = f"{other.name}-20261121T023000Z"
        items = [f"job#{other.name}", f"run#{run}", f"node#{run}#1#0#0", f"entry#{run}#00ff", f"slice#{run}#1#0"]
        name = cloud.environment.name
        of_other = [
            *(f"{queue(name, other.name)}" for queue in QUEUES),
            *(f":function:{names.function_name(name, kind, other.name)}" for kind in OF_A_JOB),
            f":stateMachine:{names.state_machine_name(name, other.name)}",
            f"arn:aws:states:eu-west-1:111122223333:execution:{names.state_machine_name(name, other.name)}:{run}-g1",
            f"/{run}/1/nonce/000000.jsonl",
            *(f"/{names.table_name(name, table.name)}" for table in other.tables if table not in job.tables),
        ]
        if isinstance(job, Pipeline) and other.name in job.fan_outs:
            # Its steps: it starts their runs and reads how these stand.
            of_other.remove(f":function:{names.function_name(name, 'fan_out', other.name)}")
            items = [items[0], *items[-2:]]
        for kind in kinds_of(job):
            for statement in cloud.statements(cloud.function(kind, job.name)["Role"]):
                if statement["Effect"] == "Deny":
                    continue
                for resource in statement["Resource"]:
                    named = resource.partition("/")[0].removeprefix("arn:aws:s3:::")
                    if named in cloud.environment.buckets.values():
                        assert named in cloud.environment.buckets_of(job).values()
                        continue
                    bucket = resource.partition("/")[0] if "/" in resource else ""
                    touched = [each for each in of_other if resource.endswith(each) or fnmatch(bucket + each, resource)]
                    assert resource == "*" or not touched, (kind, job, resource)
                    if resource.endswith("-ledger"):
                        allowed = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
                        assert not [item for item in items for each in allowed if fnmatch(item, each)]


def test_of_the_ledger_a_jobs_function_may_touch_its_own_items_and_the_one_that_calls_its_targets_too(
    case: tuple[Cloud, Declared],
) -> None:
    cloud, declared = case
    for kind in kinds_of(declared.job):
        statements = [
            statement
            for statement in cloud.statements(cloud.function(kind, declared.job.name)["Role"])
            if any(resource.endswith("-ledger") for resource in statement["Resource"])
        ]
        target = {item_of_target(declared.job)} if kind in {"worker", "batch"} else set()
        steps = declared.job.fan_outs if isinstance(declared.job, Pipeline) and kind == "batch" else ()
        awaited = {item for step in steps for item in (*standing_of(step), waiters_of(step))}
        conditions = [each["Condition"] for each in statements]
        keys = [set(each["ForAllValues:StringLike"].pop("dynamodb:LeadingKeys")) for each in conditions]
        assert set().union(*keys) == {*items_of(declared.job), *target, *awaited}
        assert conditions == [{"ForAllValues:StringLike": {}}] * len(conditions)
