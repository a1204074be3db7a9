"""What a job that is delivered in batches gets: a state machine and its function, and no queue."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from rollcall import Batches, Call, Entry, Job, Run, Secret, daily
from rollcall.core.batches import definition
from rollcall.core.catalog import Declared
from rollcall.core.settings import Settings
from stacks.deployment import deploy
from stacks.jobs_stack import resources_of
from stacks.keys import item_of_target, items_of, runs_of
from stacks.runtime import Build
from tests.stacks import sample
from tests.stacks.cloud import Cloud, Properties, sqs_arn
from tests.stacks.nag import nothing_found
from tests.stacks.test_operations import alarms, bodies, named, objection, shown, watched

ENVIRONMENT = replace(sample.ENVIRONMENT, name="batched")
NAME = "pay-slowly"
BATCHES = Batches(size=10, at_once=2, pause=timedelta(seconds=5), most_entries=1_000)
job = Job(
    NAME,
    schedule=daily("06:00"),
    target=sample.SLOW,
    concurrency=2,
    delivery=BATCHES,
    needs=[sample.IN_BUCKET, Secret("signing"), sample.ANSWERS],
    own_alarms=True,
)
STATES = "arn:aws:states:eu-west-1:111122223333"
#: Over all jobs, of which there is one, and its own.
SETS = pytest.mark.parametrize("own", [None, NAME])
FUNCTION = "arn:aws:lambda:eu-west-1:111122223333:function:rollcall-batched-pay-slowly-batch"


@job.source
def no_entries(_: Run) -> Iterator[Entry]:
    return iter(())


@job.callback
def callback(payload: dict[str, str], call: Call) -> None:
    raise AssertionError((payload, call))


JOBS = [Declared(job, "payments", "functions.jobs.payments.pay_slowly")]


def checkout(folder: Path) -> Path:
    root = sample.write_checkout(folder)
    for name in ("functions/batch/__init__.py", "functions/batch/handler.py", "functions/jobs/payments/pay_slowly.py"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(f'"""{name}"""\n')
    return root


def _deploy(app: App, root: Path, dependencies: Path) -> None:
    build = Build(root=root, dependencies=dependencies, staging=Path(app.outdir, "packages"))
    deploy(app, environment=ENVIRONMENT, jobs=JOBS, build=build)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, context: dict[str, Any], dependencies: Path) -> Cloud:
    app = App(context=context, outdir=str(tmp_path_factory.mktemp("cdk.out")))
    _deploy(app, checkout(tmp_path_factory.mktemp("checkout")), dependencies)
    return Cloud(app.synth(), ENVIRONMENT, JOBS)


def test_aws_solutions_finds_nothing(tmp_path: Path, context: dict[str, Any], dependencies: Path) -> None:
    app = App(context=context, outdir=str(tmp_path / "cdk.out"))
    _deploy(app, checkout(tmp_path / "checkout"), dependencies)
    nothing_found(app)


def machine(cloud: Cloud) -> Properties:
    return cloud.one("AWS::StepFunctions::StateMachine", StateMachineName="rollcall-batched-pay-slowly-batches")


def test_the_definition_is_the_one_that_runs_locally_and_reads_as_text(cloud: Cloud) -> None:
    found = machine(cloud)
    text = found["DefinitionString"]
    assert json.loads(text) == definition(BATCHES, "${BatchFunction}")
    assert len(text.splitlines()) > 50
    assert found["DefinitionSubstitutions"] == {"BatchFunction": FUNCTION}
    assert found["StateMachineType"] == "STANDARD", "an EXPRESS one would not know a name again"


def test_slices_are_mapped_inline_within_the_declared_bounds_and_a_failed_one_stops_no_other(cloud: Cloud) -> None:
    slices = json.loads(machine(cloud)["DefinitionString"])["States"]["Slices"]
    assert (slices["Type"], slices["MaxConcurrency"]) == ("Map", 2)
    assert slices["ItemProcessor"]["ProcessorConfig"] == {"Mode": "INLINE"}
    states = slices["ItemProcessor"]["States"]
    assert states["Handle the slice"]["Catch"] == [
        {"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "Left to the watchdog"}
    ]
    assert states["Left to the watchdog"]["Seconds"] == 5
    assert states["Pause"]["SecondsPath"] == states["Wait for the rest"]["SecondsPath"] == "$.answer.wait_seconds"
    assert {each["Next"] for each in states.values() if "Next" in each} | {"Handle the slice"} <= set(states)


def test_every_step_is_logged_without_what_it_carries(cloud: Cloud) -> None:
    logging = machine(cloud)["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ALL", False)
    group = cloud.one("AWS::Logs::LogGroup", LogGroupName="/aws/vendedlogs/states/rollcall-batched-pay-slowly-batches")
    assert group["RetentionInDays"] == 7


def test_the_state_machine_may_invoke_its_function_and_deliver_its_log_and_nothing_else(cloud: Cloud) -> None:
    allowed = {
        (action, resource)
        for statement in cloud.statements(machine(cloud)["RoleArn"])
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    # AWS gives log deliveries no resources to name
    # (https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html).
    assert {(action, resource) for action, resource in allowed if not action.startswith("logs:")} == {
        ("lambda:InvokeFunction", FUNCTION)
    }


def test_fan_out_starts_this_state_machine_and_sees_executions_of_this_jobs_runs(cloud: Cloud) -> None:
    fan_out = cloud.function("fan_out", NAME)
    name = "rollcall-batched-pay-slowly-batches"
    assert cloud.allowed(fan_out, "states") == {
        f"{STATES}:stateMachine:{name}": {"states:StartExecution"},
        f"{STATES}:execution:{name}:{runs_of(NAME)}": {"states:DescribeExecution"},
    }
    settings = Settings.from_environ(fan_out["Environment"]["Variables"])
    assert settings.state_machine == f"{STATES}:stateMachine:{name}"
    assert settings.queue_url is None


def test_the_batch_function_calls_no_more_at_once_than_declared_and_reads_its_own_manifests(cloud: Cloud) -> None:
    batch = cloud.function("batch", NAME)
    assert batch["ReservedConcurrentExecutions"] == 2
    assert batch["Timeout"] >= 10 * 60, "ten calls of up to a minute, one after another"
    bucket = "arn:aws:s3:::rollcall-batched-manifests-111122223333-eu-west-1"
    assert cloud.allowed(batch, "s3") == {f"{bucket}/{runs_of(NAME)}": {"s3:GetObject"}}
    assert cloud.allowed(batch, "sqs") == {}
    assert set(cloud.allowed(batch, "dynamodb")) == {
        f"arn:aws:dynamodb:eu-west-1:111122223333:table/rollcall-batched-{name}" for name in ("ledger", "answers")
    }
    keys = {
        key
        for statement in cloud.statements(batch["Role"])
        for key in statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", [])
    }
    assert keys == {*items_of(job), item_of_target(job)}
    assert f"slice#{runs_of(NAME)}" in keys
    settings = Settings.from_environ(batch["Environment"]["Variables"])
    assert (settings.job_module, settings.target) == (
        "functions.jobs.payments.pay_slowly",
        ENVIRONMENT.target_of(job),
    )


def test_there_is_no_queue_of_entries_and_nobody_may_count_one(cloud: Cloud) -> None:
    names = {queue["QueueName"] for queue in cloud.of_type("AWS::SQS::Queue")}
    assert not any("entries" in name or "dead-letter" in name for name in names)
    looked_at = cloud.allowed(cloud.function("watchdog"), "sqs")
    assert sqs_arn(f"rollcall-batched-{NAME}-entries.fifo") not in looked_at


def test_resources_are_counted_as_they_are(cloud: Cloud) -> None:
    template = cloud.templates[f"rollcall-{ENVIRONMENT.name}-jobs-payments"]
    assert resources_of(JOBS) == len(template["Resources"])


# --- what it is watched by ---


@SETS
@pytest.mark.parametrize(("rule", "metric"), [("workers-failing", "Errors"), ("workers-throttled", "Throttles")])
def test_its_function_is_watched_as_workers_are(cloud: Cloud, rule: str, metric: str, own: str | None) -> None:
    function = {"FunctionName": "rollcall-batched-pay-slowly-batch"}
    assert watched(named(cloud, rule, own)) == [("AWS/Lambda", metric, function)]


@SETS
def test_an_execution_that_fails_is_an_alarm(cloud: Cloud, own: str | None) -> None:
    alarm = named(cloud, "executions-failed", own)
    machine = {"StateMachineArn": f"{STATES}:stateMachine:rollcall-batched-pay-slowly-batches"}
    assert watched(alarm) == [("AWS/States", "ExecutionsFailed", machine)]
    _, asked = alarm["Metrics"]
    assert (asked["MetricStat"]["Stat"], alarm["Threshold"]) == ("Sum", 1)


def test_no_alarm_watches_what_it_has_not(cloud: Cloud) -> None:
    assert not any("dead-letter-queue" in name for name in alarms(cloud))
    for name, alarm in alarms(cloud).items():
        for metric in watched(alarm):
            assert objection(cloud, *metric) is None, name


def test_its_block_of_the_dashboard_shows_executions_and_batches_in_place_of_messages_and_workers(
    cloud: Cloud,
) -> None:
    body = bodies(cloud)["rollcall-batched-payments"]
    titles = {each["properties"].get("title") for each in body["widgets"]}
    assert {"Executions of the state machine", "Batches at once"} <= titles
    assert not titles & {"Messages", "Workers at once"}
    for metric in shown(cloud):
        assert objection(cloud, *metric) is None
