"""Permissions follow the code: no adapter asks for an action that nobody has, and nobody has one that none asks for."""

import ast
import re

import boto3

from tests.stacks.cloud import Cloud
from tests.stacks.deployed import ROOT

SERVICES = {"dynamodb", "s3", "sqs", "events", "lambda", "secretsmanager"}
#: Operations that are allowed by actions of another name.
ACTIONS = {
    "dynamodb:TransactWriteItems": {"dynamodb:PutItem", "dynamodb:UpdateItem"},
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
            service, region_name="eu-west-1", aws_access_key_id="none", aws_secret_access_key="none"
        )
        methods: dict[str, str] = client.meta.method_to_api_mapping
        found |= {method: f"{service}:{operation}" for method, operation in methods.items()}
    return found


def asked_for() -> set[str]:
    """The actions behind all calls of boto3 in the adapters."""
    known = operations()
    calls = {
        node.func.attr
        for file in (ROOT / "layers/rollcall/python/rollcall/adapters").glob("*.py")
        # Sockets and streams have methods of the same names.
        if not file.name.startswith("http")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    used = {known[name] for name in calls & known.keys()}
    return {action for operation in used for action in ACTIONS.get(operation, {operation})}


def test_the_functions_together_may_do_what_the_adapters_do_and_no_more(clouds: dict[str, Cloud]) -> None:
    cloud = clouds["sample"]
    granted = {
        action
        for function in cloud.of_type("AWS::Lambda::Function")
        for service in SERVICES
        for actions in cloud.allowed(function, service).values()
        for action in actions
    }
    assert granted - (OF_LAMBDA - asked_for()) == asked_for()
    assert granted >= OF_LAMBDA
    assert all(re.fullmatch(r"[a-z0-9]+:[A-Za-z]+", action) for action in granted)
