"""What each job of each environment gets."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from rollcall.core import names, sizing
from rollcall.core.catalog import Declared
from rollcall.core.pipeline import Pipeline
from rollcall.core.run import run_id
from rollcall.core.settings import Settings
from rollcall.core.sizing import worker_sizing
from stacks.keys import runs_of
from tests.stacks import sample
from tests.stacks.cloud import Cloud, queue_url, sqs_arn
from tests.stacks.deployed import kinds_of

Case = tuple[Cloud, Declared]


def queue_of(cloud: Cloud, declared: Declared) -> str:
    return names.queue_name(cloud.environment.name, declared.job.name)


def dead_letters_of(cloud: Cloud, declared: Declared) -> str:
    return names.dead_letter_queue_name(cloud.environment.name, declared.job.name)


def undelivered_of(cloud: Cloud, declared: Declared) -> str:
    return names.undelivered_queue_name(cloud.environment.name, declared.job.name)


def test_both_queues_are_high_throughput_fifo_with_deduplication_by_content(queued: Case) -> None:
    cloud, declared = queued
    for name in (queue_of(*queued), dead_letters_of(*queued)):
        queue = cloud.queue(name)
        assert queue["FifoQueue"] is True
        assert queue["ContentBasedDeduplication"] is True
        assert queue["DeduplicationScope"] == "messageGroup"
        assert queue["FifoThroughputLimit"] == "perMessageGroupId"
    assert declared.job.name in queue_of(*queued)


def test_a_message_is_hidden_for_six_times_as_long_as_its_function_may_take(queued: Case) -> None:
    cloud, declared = queued
    queue, worker = cloud.queue(queue_of(*queued)), cloud.function("worker", declared.job.name)
    assert queue["VisibilityTimeout"] >= 6 * worker["Timeout"]
    assert worker["Timeout"] >= declared.job.target.timeout.total_seconds()
    dead, settler = cloud.queue(dead_letters_of(*queued)), cloud.function("dead_letter", declared.job.name)
    assert dead["VisibilityTimeout"] >= 6 * settler["Timeout"]


def test_dead_letters_come_late_and_are_kept_longest(queued: Case) -> None:
    cloud, _ = queued
    queue, dead = cloud.queue(queue_of(*queued)), cloud.queue(dead_letters_of(*queued))
    assert queue["RedrivePolicy"] == {
        "deadLetterTargetArn": sqs_arn(dead["QueueName"]),
        "maxReceiveCount": sizing.MAX_RECEIVE_COUNT,
    }
    assert dead["MessageRetentionPeriod"] == 14 * 86_400
    assert dead["MessageRetentionPeriod"] >= queue["MessageRetentionPeriod"]


def test_the_worker_takes_no_more_messages_than_it_has_room_for(queued: Case) -> None:
    cloud, declared = queued
    worker = cloud.function("worker", declared.job.name)
    mapping = cloud.mapping(worker)
    assert mapping["EventSourceArn"] == sqs_arn(queue_of(*queued))
    bound = cloud.environment.bound(declared.job)
    ceilings, workers = cloud.environment.ceilings, mapping["ScalingConfig"]["MaximumConcurrency"]
    assert workers == min(ceilings.workers, worker_sizing(bound).maximum_concurrency) >= 2
    assert worker.get("ReservedConcurrentExecutions") == (None if ceilings.reserved is None else workers)
    assert mapping["BatchSize"] == worker_sizing(bound).batch_size
    assert worker["Timeout"] == worker_sizing(bound).timeout.total_seconds()
    assert not {"FilterCriteria", "MaximumBatchingWindowInSeconds", "Enabled"} & mapping.keys()


def test_the_dead_letter_function_reads_the_dead_letter_queue(queued: Case) -> None:
    cloud, declared = queued
    mapping = cloud.mapping(cloud.function("dead_letter", declared.job.name))
    assert mapping["EventSourceArn"] == sqs_arn(dead_letters_of(*queued))


def test_no_target_gets_more_calls_at_once_than_it_takes(cloud: Cloud) -> None:
    calls: dict[str, int] = {}
    for declared in cloud.jobs:
        at_once = _invocations_at_once(cloud, declared) * worker_sizing(declared.job).width
        calls[declared.job.target.name] = calls.get(declared.job.target.name, 0) + at_once
    limits = {declared.job.target.name: declared.job.target.concurrency for declared in cloud.jobs}
    assert all(calls[name] <= limit for name, limit in limits.items()), (calls, limits)


def _invocations_at_once(cloud: Cloud, declared: Declared) -> int:
    if declared.job.delivery is None:
        mapping = cloud.mapping(cloud.function("worker", declared.job.name))
        return int(mapping["ScalingConfig"]["MaximumConcurrency"])
    if isinstance(declared.job, Pipeline):
        return 1  # one step after another
    name = names.state_machine_name(cloud.environment.name, declared.job.name)
    machine = cloud.one("AWS::StepFunctions::StateMachine", StateMachineName=name)
    return int(json.loads(machine["DefinitionString"])["States"]["Slices"]["MaxConcurrency"])


def test_schedules_are_the_declared_ones_and_say_when_they_were_due(case: Case) -> None:
    cloud, declared = case
    schedule = declared.job.schedule
    fan_out = cloud.function("fan_out", declared.job.name)
    for number, expression in enumerate(schedule.expressions(), 1):
        name = names.schedule_name(cloud.environment.name, declared.job.name, number)
        deployed = cloud.one("AWS::Scheduler::Schedule", Name=name)
        assert deployed["ScheduleExpression"] == expression
        assert expression.startswith("cron(")
        assert deployed["ScheduleExpressionTimezone"] == schedule.timezone
        assert deployed["State"] == ("ENABLED" if cloud.environment.schedules_enabled else "DISABLED")
        assert deployed["FlexibleTimeWindow"] == {"Mode": "OFF"}
        assert deployed["Target"]["Arn"].endswith(f":function:{fan_out['FunctionName']}")
        start = json.loads(deployed["Target"]["Input"])
        assert start["job"] == declared.job.name
        assert start["scheduled_time"] == "<aws.scheduler.scheduled-time>"
        tick = start.get("tick_seconds")
        assert tick == (None if schedule.tick is None else schedule.tick.total_seconds())


def test_a_start_that_cannot_be_delivered_goes_to_a_standard_queue_within_the_hour(scheduled: Case) -> None:
    cloud, declared = scheduled
    undelivered = cloud.queue(undelivered_of(*scheduled))
    assert "FifoQueue" not in undelivered
    name = names.schedule_name(cloud.environment.name, declared.job.name, 1)
    target = cloud.one("AWS::Scheduler::Schedule", Name=name)["Target"]
    assert target["DeadLetterConfig"]["Arn"] == sqs_arn(undelivered["QueueName"])
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] < 3_600
    assert target["RetryPolicy"]["MaximumRetryAttempts"] <= 10


def test_a_schedules_role_starts_this_fan_out_and_nothing_else(scheduled: Case) -> None:
    cloud, declared = scheduled
    name = names.schedule_name(cloud.environment.name, declared.job.name, 1)
    target = cloud.one("AWS::Scheduler::Schedule", Name=name)["Target"]
    statements = list(cloud.statements(target["RoleArn"]))
    assert [(statement["Action"], statement["Resource"]) for statement in statements] == [
        (["lambda:InvokeFunction"], [target["Arn"]]),
        (["sqs:SendMessage"], [sqs_arn(undelivered_of(*scheduled))]),
    ]


def test_a_fan_out_that_fails_is_tried_twice_more_and_then_kept(case: Case) -> None:
    cloud, declared = case
    fan_out = cloud.function("fan_out", declared.job.name)
    assert fan_out["Timeout"] == 900
    config = cloud.one("AWS::Lambda::EventInvokeConfig", FunctionName=fan_out["FunctionName"])
    assert config["MaximumRetryAttempts"] == 2
    assert config["DestinationConfig"]["OnFailure"]["Destination"] == sqs_arn(undelivered_of(*case))


def test_the_environment_is_one_the_handler_reads_and_binds_this_job(case: Case) -> None:
    cloud, declared = case
    for kind in kinds_of(declared.job):
        variables = cloud.function(kind, declared.job.name)["Environment"]["Variables"]
        settings = Settings.from_environ(variables)
        assert set(variables) == set(settings.to_environ())
        assert settings.environment == cloud.environment.name
        assert settings.job_module == declared.module
        queue = dead_letters_of(*case) if kind == "dead_letter" else queue_of(*case)
        assert settings.queue_url == (queue_url(queue) if declared.job.delivery is None else None)
        assert settings.target == (None if kind == "dead_letter" else cloud.environment.target_of(declared.job))
        assert settings.reports == (cloud.environment.reports_of(declared.job) if kind == "fan_out" else {})


def test_a_function_touches_no_queue_but_its_own_jobs(case: Case) -> None:
    cloud, declared = case
    send = {"sqs:SendMessage"}
    consume = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}
    looked_up = {"sqs:GetQueueAttributes", "sqs:GetQueueUrl"}
    undelivered = {sqs_arn(undelivered_of(*case)): send | looked_up}
    expected = {"fan_out": undelivered, "batch": {}}
    if declared.job.delivery is None:
        expected = {
            "fan_out": {sqs_arn(queue_of(*case)): send} | undelivered,
            "worker": {sqs_arn(queue_of(*case)): consume | looked_up},
            "dead_letter": {sqs_arn(dead_letters_of(*case)): consume | looked_up},
        }
    job = declared.job
    assert {kind: cloud.allowed(cloud.function(kind, job.name), "sqs") for kind in kinds_of(job)} == expected


def test_a_function_reads_and_changes_items_of_its_ledger_and_of_its_jobs_tables_only(case: Case) -> None:
    cloud, declared = case
    arn = f"arn:aws:dynamodb:eu-west-1:111122223333:table/rollcall-{cloud.environment.name}-{{}}".format
    for kind in kinds_of(declared.job):
        actions = {"dynamodb:BatchGetItem", "dynamodb:UpdateItem"}
        if kind == "fan_out":
            actions |= {"dynamodb:PutItem"}
        expected = {arn("ledger"): actions}
        for table in declared.job.tables if kind != "dead_letter" else ():
            deletes = ["DeleteItem"] if table.deletes else []
            operations = ("GetItem", "PutItem", "Query", "UpdateItem", *deletes)
            expected[arn(table.name)] = {f"dynamodb:{each}" for each in operations}
            expected |= {f"{arn(table.name)}/index/{index}": {"dynamodb:Query"} for index, _, _ in table.indexes}
        assert cloud.allowed(cloud.function(kind, declared.job.name), "dynamodb") == expected


def test_only_fan_out_writes_manifests_and_only_its_own_jobs(case: Case) -> None:
    cloud, declared = case
    bucket = f"arn:aws:s3:::rollcall-{cloud.environment.name}-manifests-111122223333-eu-west-1"
    own = f"{bucket}/{runs_of(declared.job.name)}"
    expected: dict[str, dict[str, set[str]]] = {
        "fan_out": {own: {"s3:GetObject", "s3:PutObject"}},
        "worker": {},
        "dead_letter": {own: {"s3:GetObject"}, f"{bucket}/dead_letter/*": {"s3:PutObject"}},
        "batch": {own: {"s3:GetObject"}},
    }
    for kind in kinds_of(declared.job):
        allowed = cloud.allowed(cloud.function(kind, declared.job.name), "s3")
        assert {key: value for key, value in allowed.items() if key.startswith(bucket)} == expected[kind]


def test_nobody_but_fan_out_may_send_to_a_jobs_queue_whatever_else_he_may_do(queued: Case) -> None:
    cloud, declared = queued
    statements = [
        statement
        for policy in cloud.of_type("AWS::SQS::QueuePolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Resource"] == sqs_arn(queue_of(*queued)) and statement["Action"] == "sqs:SendMessage"
    ]
    assert statements == [
        {
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": "sqs:SendMessage",
            "Resource": sqs_arn(queue_of(*queued)),
            "Condition": {
                "ArnNotEquals": {"aws:PrincipalArn": cloud.function("fan_out", declared.job.name)["Role"]},
            },
        }
    ]


def test_the_pattern_of_a_jobs_runs_matches_its_runs_and_no_other_jobs() -> None:
    due = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
    for run in (run_id("pay", due), run_id("pay", due, "a1")):
        assert fnmatchcase(f"{run}/1/nonce/000000.jsonl", runs_of("pay"))
        assert not fnmatchcase(f"{run}/1/nonce/000000.jsonl", runs_of("pay-back"))
    for other in ("pay-back", "pay-20261121", "pay-20261121t0230002"):
        assert not fnmatchcase(f"{run_id(other, due)}/1/nonce/000000.jsonl", runs_of("pay"))


def test_needs_become_permissions_of_the_functions_that_use_them(clouds: Mapping[str, Cloud]) -> None:
    cloud = clouds["sample"]
    secret = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:rollcall/sample/{}-??????".format
    get, read = {"secretsmanager:GetSecretValue"}, {"s3:GetObject"}
    due = "arn:aws:s3:::somebodys-reports/daily/due.csv"

    fan_out, worker = (cloud.function(kind, sample.FULL.name) for kind in ("fan_out", "worker"))
    assert cloud.allowed(fan_out, "secretsmanager") == {secret("workday"): get, secret("signing"): get}
    assert cloud.allowed(worker, "secretsmanager") == {secret("bank"): get, secret("signing"): get}
    assert cloud.allowed(fan_out, "s3")[due] == read
    assert cloud.allowed(worker, "s3") == {}

    fan_out, worker = (cloud.function(kind, sample.SMALL.name) for kind in ("fan_out", "worker"))
    assert cloud.allowed(fan_out, "secretsmanager") == {}
    assert cloud.allowed(worker, "secretsmanager") == {secret("bank"): get}
    assert cloud.allowed(worker, "s3") == {}
