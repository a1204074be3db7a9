"""What holds for every function, mapping, queue and role, whichever job it belongs to."""

import re

from rollcall.core.settings import Settings
from stacks.function import NETWORK_ACTIONS
from tests.stacks.cloud import Cloud
from tests.stacks.deployed import kinds_of

#: Resources with a `*` or `?` that are meant: pattern -> why no narrower one would do.
MEANT = {
    r"arn:aws:logs:[^*]*:log-group:/aws/lambda/[^*]+:\*": "the streams of the function's own log group",
    r"arn:aws:secretsmanager:[^*?]+:secret:[^*?]+-\?{6}": "Secrets Manager adds six characters to a name",
    r"arn:aws:s3:::rollcall-[^*]+/[a-z0-9-]+-\?{8}T\?{6}Z\*": "the manifests of one job's runs",
    r"arn:aws:s3:::rollcall-[^*]+/dead_letter/\*": "dead letters are named after message ids",
    r"arn:aws:s3:::(?!rollcall-)[^*/]+/\*": "the objects of a bucket that is bound to one job",
    r"arn:aws:states:[^*]+:execution:[^*]+:[a-z0-9-]+-\?{8}T\?{6}Z\*": "the executions of one job's runs",
}
#: What a state machine's role delivers its log with
#: (https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html).
LOG_DELIVERY = (
    *("logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery"),
    *("logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups"),
)
#: Actions that are allowed on every resource -> why.
UNBOUND = (
    {"dynamodb:ListStreams": "takes no resource"}
    | dict.fromkeys(NETWORK_ACTIONS, "Lambda's own, in the function's name; denied to it itself, see test_vpc.py")
    | dict.fromkeys(LOG_DELIVERY, "deliveries of logs have no resources to name")
)


def test_every_mapping_reports_failures_message_by_message(cloud: Cloud) -> None:
    mappings = cloud.of_type("AWS::Lambda::EventSourceMapping")
    assert len(mappings) == 2 * sum(each.job.delivery is None for each in cloud.jobs) + 1
    for mapping in mappings:
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"], mapping


def test_every_function_runs_the_same_way(cloud: Cloud) -> None:
    functions = cloud.of_type("AWS::Lambda::Function")
    assert len(functions) == sum(len(kinds_of(each.job)) for each in cloud.jobs) + 2
    for function in functions:
        assert function["Runtime"] == "python3.13"
        assert function["Architectures"] == ["arm64"]
        assert len(function["Layers"]) == 2
        assert function["LoggingConfig"]["LogFormat"] == "JSON"
        assert function["MemorySize"] == {"worker": 256, "batch": 256, "fan_out": 1_769}.get(_kind(function), 512)


def test_every_environment_is_one_that_the_handler_reads(cloud: Cloud) -> None:
    for function in cloud.of_type("AWS::Lambda::Function"):
        settings = Settings.from_environ(function["Environment"]["Variables"])
        name = cloud.environment.name
        assert settings.environment == name
        assert settings.ledger == f"rollcall-{name}-ledger"
        assert cloud.one("AWS::DynamoDB::Table", TableName=settings.ledger)
        assert settings.manifests == cloud.one("AWS::S3::Bucket")["BucketName"]
        assert settings.bus == cloud.one("AWS::Events::EventBus")["Name"]


def test_every_log_group_is_its_functions_or_state_machines_and_forgets(cloud: Cloud) -> None:
    groups = {group["LogGroupName"]: group for group in cloud.of_type("AWS::Logs::LogGroup")}
    functions = cloud.of_type("AWS::Lambda::Function")
    machines = {
        f"/aws/vendedlogs/states/{each['StateMachineName']}"
        for each in cloud.of_type("AWS::StepFunctions::StateMachine")
    }
    assert {function["LoggingConfig"]["LogGroup"] for function in functions} == set(groups) - machines
    assert set(groups) - machines == {f"/aws/lambda/{function['FunctionName']}" for function in functions}
    assert machines <= set(groups)
    assert all(1 <= group["RetentionInDays"] <= 731 for group in groups.values())


def test_every_queue_is_encrypted_and_takes_tls_only(cloud: Cloud) -> None:
    guarded: set[str] = set()
    for policy in cloud.of_type("AWS::SQS::QueuePolicy"):
        (statement,) = (each for each in policy["PolicyDocument"]["Statement"] if each["Action"] == "sqs:*")
        assert statement["Effect"] == "Deny"
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        guarded.update(url.rsplit("/")[-1] for url in policy["Queues"])
    queues = cloud.of_type("AWS::SQS::Queue")
    assert guarded == {queue["QueueName"] for queue in queues}
    assert all(queue["SqsManagedSseEnabled"] is True for queue in queues)


def test_no_role_has_a_wildcard_that_is_not_explained(cloud: Cloud) -> None:
    roles = [resource for resource in cloud.resources if resource.type == "AWS::IAM::Role"]
    # One for each function and each schedule; and for the state machine of a job in batches.
    assert len(roles) == sum(len(kinds_of(each.job)) + 1 + bool(each.job.delivery) for each in cloud.jobs) + 3
    for role in roles:
        assert "ManagedPolicyArns" not in role.properties
        statements = list(cloud.statements(f"arn:aws:iam::111122223333:role/{role.id}"))
        assert statements
        for statement in statements:
            assert not any("*" in action for action in statement["Action"]), statement
            for resource in statement["Resource"]:
                assert _narrow(resource) or set(statement["Action"]) <= UNBOUND.keys(), statement


def test_no_name_is_longer_than_its_service_takes(cloud: Cloud) -> None:
    assert all(len(each["FunctionName"]) <= 64 for each in cloud.of_type("AWS::Lambda::Function"))
    assert all(len(each["QueueName"]) <= 80 for each in cloud.of_type("AWS::SQS::Queue"))
    assert all(len(each["Name"]) <= 64 for each in cloud.of_type("AWS::Scheduler::Schedule"))


def test_stacks_stay_below_what_cloudformation_takes(cloud: Cloud) -> None:
    for stack, template in cloud.templates.items():
        assert len(template["Resources"]) < 500, stack


def _kind(function: dict[str, str]) -> str:
    return function["Handler"].split(".")[1]


def _narrow(resource: str) -> bool:
    explained = any(re.fullmatch(pattern, resource) for pattern in MEANT)
    return explained or not set("*?") & set(resource)
