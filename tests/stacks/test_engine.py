"""The functions that all jobs of an environment share."""

import json
from datetime import timedelta

from rollcall.core import names
from rollcall.core.run import RunState
from rollcall.core.settings import Settings
from rollcall.core.sizing import LATEST_START
from tests.stacks.cloud import Cloud, sqs_arn


def test_completion_hears_of_ended_runs_only(cloud: Cloud) -> None:
    mapping = cloud.mapping(cloud.function("completion"))
    (pattern,) = (json.loads(each["Pattern"]) for each in mapping["FilterCriteria"]["Filters"])
    assert pattern["dynamodb"]["Keys"]["pk"] == {"S": [{"prefix": "run#"}]}
    states = set(pattern["dynamodb"]["NewImage"]["state"]["S"])
    assert states == {state.value for state in RunState if state.terminal}


def test_a_record_that_fails_is_set_aside_and_holds_up_no_other(cloud: Cloud) -> None:
    mapping = cloud.mapping(cloud.function("completion"))
    assert mapping["EventSourceArn"] == f"rollcall-{cloud.environment.name}-ledger-stream"
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["BisectBatchOnFunctionError"] is True
    assert 1 <= mapping["MaximumRetryAttempts"] <= 10
    undelivered = names.undelivered_queue_name(cloud.environment.name)
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == sqs_arn(undelivered)
    assert "FifoQueue" not in cloud.queue(undelivered)


def test_the_stream_is_exported_under_the_name_that_the_engine_imports(cloud: Cloud) -> None:
    outputs = cloud.templates[f"rollcall-{cloud.environment.name}-ledger"]["Outputs"].values()
    (output,) = (each for each in outputs if "Export" in each)
    assert output["Export"]["Name"] == cloud.mapping(cloud.function("completion"))["EventSourceArn"]
    assert output["Value"]["Fn::GetAtt"][1] == "StreamArn"


def test_the_watchdog_looks_every_minute_also_where_schedules_are_off(cloud: Cloud) -> None:
    schedule = cloud.one("AWS::Scheduler::Schedule", Name=f"rollcall-{cloud.environment.name}-watchdog")
    assert schedule["ScheduleExpression"] == "cron(* * * * ? *)"
    assert schedule["State"] == "ENABLED"
    assert json.loads(schedule["Target"]["Input"]) == {"scheduled_time": "<aws.scheduler.scheduled-time>"}
    watchdog = cloud.function("watchdog")
    assert schedule["Target"]["Arn"].endswith(f":function:{watchdog['FunctionName']}")
    assert watchdog["Timeout"] < 60


def test_no_schedule_is_a_rate(cloud: Cloud) -> None:
    for schedule in cloud.of_type("AWS::Scheduler::Schedule"):
        assert schedule["ScheduleExpression"].startswith("cron("), schedule["Name"]


def test_nothing_in_a_template_starts_a_function_when_it_is_deployed(cloud: Cloud) -> None:
    types = {resource.type for resource in cloud.resources}
    assert not {name for name in types if name.startswith("Custom::") or name.startswith("AWS::CloudFormation::")}
    assert all("StartDate" not in schedule for schedule in cloud.of_type("AWS::Scheduler::Schedule"))


def test_both_may_start_the_fan_outs_of_this_environment_and_nothing_else(cloud: Cloud) -> None:
    fan_outs = {
        f"arn:aws:lambda:eu-west-1:111122223333:function:{cloud.function('fan_out', each.job.name)['FunctionName']}"
        for each in cloud.jobs
    }
    for kind in ("completion", "watchdog"):
        allowed = cloud.allowed(cloud.function(kind), "lambda")
        assert allowed == {arn: {"lambda:InvokeFunction"} for arn in fan_outs}


def test_both_announce_on_this_environments_bus_and_touch_neither_message_nor_manifest(cloud: Cloud) -> None:
    bus = f"arn:aws:events:eu-west-1:111122223333:event-bus/rollcall-{cloud.environment.name}"
    for kind in ("completion", "watchdog"):
        function = cloud.function(kind)
        assert cloud.allowed(function, "events") == {bus: {"events:PutEvents"}}
        assert cloud.allowed(function, "s3") == {}
        assert cloud.allowed(function, "secretsmanager") == {}
    undelivered = sqs_arn(names.undelivered_queue_name(cloud.environment.name))
    assert set(cloud.allowed(cloud.function("completion"), "sqs")) == {undelivered}


def test_the_watchdog_may_count_the_messages_of_the_jobs_of_this_environment_and_do_nothing_to_them(
    cloud: Cloud,
) -> None:
    queues = {
        sqs_arn(names.queue_name(cloud.environment.name, each.job.name))
        for each in cloud.jobs
        if each.job.delivery is None
    }
    counting = {"sqs:GetQueueUrl", "sqs:GetQueueAttributes"}
    assert cloud.allowed(cloud.function("watchdog"), "sqs") == dict.fromkeys(queues, counting)


def test_the_watchdog_knows_whether_this_environment_has_schedules(cloud: Cloud) -> None:
    settings = Settings.from_environ(cloud.function("watchdog")["Environment"]["Variables"])
    assert settings.schedules_enabled is cloud.environment.schedules_enabled


def test_a_start_can_come_until_the_watchdog_takes_it_for_missed_and_no_later(cloud: Cloud) -> None:
    """The scheduler's age, then Lambda's, then an invocation."""
    for each in cloud.jobs:
        function = cloud.function("fan_out", each.job.name)
        (invoke,) = (
            config["MaximumEventAgeInSeconds"]
            for config in cloud.of_type("AWS::Lambda::EventInvokeConfig")
            if config["FunctionName"] == function["FunctionName"]
        )
        for schedule in cloud.of_type("AWS::Scheduler::Schedule"):
            if schedule["Target"]["Arn"].endswith(f":function:{function['FunctionName']}"):
                delivery = schedule["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"]
                assert timedelta(seconds=delivery + invoke + function["Timeout"]) < LATEST_START


def test_completion_reads_the_stream_and_items_and_the_watchdog_items_and_puts_runs(cloud: Cloud) -> None:
    name = cloud.environment.name
    table = f"arn:aws:dynamodb:eu-west-1:111122223333:table/rollcall-{name}-ledger"
    items = {"dynamodb:BatchGetItem", "dynamodb:UpdateItem"}
    stream = {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"}
    assert cloud.allowed(cloud.function("watchdog"), "dynamodb") == {table: items | {"dynamodb:PutItem"}}
    assert cloud.allowed(cloud.function("completion"), "dynamodb") == {
        table: items,
        f"rollcall-{name}-ledger-stream": stream,
        "*": {"dynamodb:ListStreams"},
    }
