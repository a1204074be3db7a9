"""Alarms and dashboards: each on a resource that is deployed, or on a metric of ours; each alarm with its page."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_cdk import App

from rollcall.core import names
from rollcall.core.catalog import Declared
from rollcall.core.metrics import ENVIRONMENT, JOB, NAMESPACE, Metric
from stacks.alarms import MOST_METRICS, RULES, Rule
from stacks.sums_stack import SumsStack
from tests.stacks.cloud import Cloud, Properties
from tests.stacks.deployed import ROOT
from tests.stacks.sample import ENVIRONMENT as SAMPLE
from tests.stacks.sample import SMALL

RUNBOOK = ROOT / "docs/runbook"
OWN = {rule.name for rule in RULES if isinstance(rule.watches, Metric)}
#: What AWS measures of what is deployed: namespace -> the dimension that names the resource, and the metrics used.
OF_RESOURCES = {
    "AWS/Lambda": ("FunctionName", {"Errors", "Throttles", "ConcurrentExecutions"}),
    "AWS/SQS": ("QueueName", {"ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"}),
    "AWS/States": (
        "StateMachineArn",
        {"ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsAborted"},
    ),
}
#: Metrics that belong to no job.
OF_ENVIRONMENT = {Metric.WATCHDOG_ROUNDS.value}


def alarms(cloud: Cloud) -> dict[str, Properties]:
    return {alarm["AlarmName"]: alarm for alarm in cloud.of_type("AWS::CloudWatch::Alarm")}


def named(cloud: Cloud, rule: str, job: str | None = None) -> Properties:
    return alarms(cloud)[names.alarm_name(cloud.environment.name, rule, job)]


def parts(cloud: Cloud, rule: str) -> list[Properties]:
    """The alarms of a rule: more than one where there are more metrics than one takes."""
    name = re.escape(names.alarm_name(cloud.environment.name, rule))
    return [alarm for found, alarm in sorted(alarms(cloud).items()) if re.fullmatch(rf"{name}(-\d+)?", found)]


def watched(alarm: Properties) -> list[tuple[str, str, dict[str, str]]]:
    """Namespace, name and dimensions of what an alarm takes."""
    metrics = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", ()) if "MetricStat" in each]
    if "MetricName" in alarm:
        metrics.append(alarm)
    return [
        (metric["Namespace"], metric["MetricName"], {each["Name"]: each["Value"] for each in metric["Dimensions"]})
        for metric in metrics
    ]


def shown(cloud: Cloud) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Namespace, name and dimensions of what the dashboards show."""
    for body in bodies(cloud).values():
        for widget in body["widgets"]:
            for namespace, name, *rest in widget["properties"].get("metrics", ()):
                texts = [text for text in rest if isinstance(text, str)]
                yield namespace, name, dict(zip(texts[::2], texts[1::2], strict=True))


def bodies(cloud: Cloud) -> dict[str, Properties]:
    return {
        dashboard["DashboardName"]: json.loads(dashboard["DashboardBody"])
        for dashboard in cloud.of_type("AWS::CloudWatch::Dashboard")
    }


def deployed(cloud: Cloud, dimension: str) -> set[str]:
    """The names of the functions or queues, or the ARNs of the state machines, that the templates make."""
    if dimension == "StateMachineArn":
        return {cloud.state_machine(each.job.name) for each in cloud.jobs if each.job.delivery is not None}
    type_ = {"FunctionName": "AWS::Lambda::Function", "QueueName": "AWS::SQS::Queue"}[dimension]
    return {resource[dimension] for resource in cloud.of_type(type_)}


def objection(cloud: Cloud, namespace: str, name: str, dimensions: dict[str, str]) -> str | None:
    """Why there can be no such metric, or None."""
    if namespace == NAMESPACE:
        if name not in {metric.value for metric in Metric}:
            return f"nobody emits {name}"
        if dimensions.pop(ENVIRONMENT, None) != cloud.environment.name:
            return f"{name} is of another environment"
        if name in OF_ENVIRONMENT and dimensions:
            return f"{name} belongs to no job"
        jobs = {each.job.name for each in cloud.jobs}
        return None if dimensions.pop(JOB, None) in {None, *jobs} and not dimensions else f"{name} has other dimensions"
    dimension, metrics = OF_RESOURCES[namespace]
    if name not in metrics:
        return f"{namespace} has no {name}"
    if dimensions.keys() != {dimension} or dimensions[dimension] not in deployed(cloud, dimension):
        return f"{dimensions} is not deployed"
    return None


# --- alarms ---


def test_every_alarm_has_a_page_in_the_runbook_and_every_page_an_alarm() -> None:
    assert {page.stem for page in RUNBOOK.glob("*.md")} == {rule.name for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_page_says_what_happened_and_what_to_do(rule: Rule) -> None:
    page = (RUNBOOK / f"{rule.name}.md").read_text()
    headings = re.findall(r"^(#+ .+)$", page, re.M)
    assert headings[0] == f"# {rule.name}"
    assert headings[1:3] == ["## What happened", "## What to do"]


def test_an_alarm_names_its_page(cloud: Cloud) -> None:
    for alarm in alarms(cloud).values():
        (page,) = re.findall(r"What to do: (docs/runbook/[a-z-]+\.md)$", alarm["AlarmDescription"])
        assert (ROOT / page).is_file()
        assert Path(page).stem in alarm["AlarmName"]


def without(*deliveries: bool) -> set[str]:
    """The rules about what jobs of these deliveries (whether in batches) have not."""
    return ({"executions-failed"} if True not in deliveries else set()) | (
        {"dead-letter-queue-stuck"} if False not in deliveries else set()
    )


def test_there_is_one_set_for_the_environment_and_one_for_each_job_that_asks(cloud: Cloud) -> None:
    environment = cloud.environment.name
    lacking = without(*(each.job.delivery is not None for each in cloud.jobs))
    expected = {names.alarm_name(environment, rule.name) for rule in RULES if rule.name not in lacking}
    for job in (each.job for each in cloud.jobs if each.job.own_alarms):
        lacking = without(job.delivery is not None)
        own = (rule.name for rule in RULES if not rule.silence and rule.name not in lacking)
        expected |= {names.alarm_name(environment, rule, job.name) for rule in own}
    assert {re.sub(r"-\d+$", "", name) for name in alarms(cloud)} == expected


def test_the_sample_has_a_job_that_asks_and_one_that_does_not(clouds: dict[str, Cloud]) -> None:
    assert {each.job.own_alarms for each in clouds["sample"].jobs} == {True, False}


def test_every_alarm_watches_what_there_is(cloud: Cloud) -> None:
    for name, alarm in alarms(cloud).items():
        assert watched(alarm), name
        for metric in watched(alarm):
            assert objection(cloud, *metric) is None, name


@pytest.mark.parametrize(
    ("rule", "kind", "metric"),
    [
        ("fan-out-failing", "fan_out", "Errors"),
        ("workers-failing", "worker", "Errors"),
        ("workers-throttled", "worker", "Throttles"),
    ],
)
def test_an_alarm_on_functions_watches_those_of_all_jobs(cloud: Cloud, rule: str, kind: str, metric: str) -> None:
    kinds = {each.job.name: "batch" if kind == "worker" and each.job.delivery else kind for each in cloud.jobs}
    functions = [cloud.function(kind, job)["FunctionName"] for job, kind in kinds.items()]
    expected = [("AWS/Lambda", metric, {"FunctionName": function}) for function in functions]
    assert watched(named(cloud, rule)) == expected


def test_all_tries_of_a_fan_out_that_runs_out_of_time_lie_within_the_alarms_window(cloud: Cloud) -> None:
    """Lambda tries after one minute, and after two more, and dates an error by when its invocation began
    (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html).
    """
    alarm = named(cloud, "fan-out-failing")
    (window,) = {each["MetricStat"]["Period"] for each in alarm["Metrics"] if "MetricStat" in each}
    (timeout,) = {cloud.function("fan_out", each.job.name)["Timeout"] for each in cloud.jobs}
    assert alarm["Threshold"] == 3
    assert window >= 3 * timeout + 60 + 120


def test_the_alarm_on_dead_letter_queues_watches_all_their_messages(cloud: Cloud) -> None:
    metrics = ("ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible")
    expected = [
        ("AWS/SQS", metric, {"QueueName": names.dead_letter_queue_name(cloud.environment.name, each.job.name)})
        for each in cloud.jobs
        if each.job.delivery is None
        for metric in metrics
    ]
    assert [metric for part in parts(cloud, "dead-letter-queue-stuck") for metric in watched(part)] == expected


def test_an_alarm_of_a_jobs_own_watches_that_job_alone(clouds: dict[str, Cloud]) -> None:
    cloud = clouds["sample"]
    function = cloud.function("worker", "pay")["FunctionName"]
    assert watched(named(cloud, "workers-failing", "pay")) == [("AWS/Lambda", "Errors", {"FunctionName": function})]
    dimensions = {ENVIRONMENT: "sample", JOB: "pay"}
    assert watched(named(cloud, "run-refused", "pay")) == [(NAMESPACE, "RunsRefused", dimensions)]


def test_what_an_alarm_adds_up_is_named_after_the_jobs_and_gaps_count_nothing(cloud: Cloud) -> None:
    """An expression of several metrics has no value where one of them has none, but for FILL."""
    for rule in RULES:
        if rule.name in OWN or rule.name in without(*(each.job.delivery is not None for each in cloud.jobs)):
            continue
        labels = set()
        for part in parts(cloud, rule.name):
            expression, *metrics = part["Metrics"]
            filled = ", ".join(f"FILL({each['Id']}, 0)" for each in metrics)
            assert expression["Expression"] == f"SUM([{filled}])"
            labels |= {each["Label"].partition(",")[0] for each in metrics}
        lacking = {each.job.name for each in cloud.jobs if rule.name in without(each.job.delivery is not None)}
        jobs = {each.job.name for each in cloud.jobs} - lacking
        assert labels == jobs


def test_silence_is_an_alarm_of_the_watchdog_alone(cloud: Cloud) -> None:
    for name, alarm in alarms(cloud).items():
        silent = name.endswith("watchdog-silent")
        assert alarm["TreatMissingData"] == ("breaching" if silent else "notBreaching")
        assert alarm["ComparisonOperator"].startswith("LessThan" if silent else "GreaterThanOrEqual")


def test_no_alarm_looks_back_further_than_an_alarm_can(cloud: Cloud) -> None:
    """A day (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html)."""
    for alarm in alarms(cloud).values():
        summed = (each["MetricStat"]["Period"] for each in alarm.get("Metrics", ()) if "MetricStat" in each)
        period = alarm["Period"] if "Period" in alarm else max(summed)
        assert period * alarm["EvaluationPeriods"] <= 86_400


def test_forty_jobs_have_alarms_that_take_no_more_metrics_than_an_alarm_may(tmp_path: Path) -> None:
    app, jobs = App(outdir=str(tmp_path)), []
    for number in range(40):
        job = SMALL.bound_to(SAMPLE.targets["slow-bank"])
        job.name = f"pay-{number}"
        jobs.append(Declared(job, "payments", f"functions.jobs.payments.pay_{number}"))
    SumsStack(app, "sums", environment=SAMPLE, jobs=jobs)
    template = app.synth().get_stack_by_name("sums").template
    found = [each["Properties"] for each in template["Resources"].values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    assert max(len(watched(alarm)) for alarm in found) == MOST_METRICS
    assert len({alarm["AlarmName"] for alarm in found}) == len(found)
    for kind in ("fan_out", "worker"):
        functions = {names.function_name("sample", kind, each.job.name) for each in jobs}
        seen = {metric[2].get("FunctionName") for alarm in found for metric in watched(alarm)}
        assert functions <= seen


# --- who hears of it ---


def test_every_alarm_tells_the_environments_topic(cloud: Cloud) -> None:
    topics = cloud.of_type("AWS::SNS::Topic")
    if cloud.environment.alarm_topic is not None:
        assert topics == []
        expected = by_name = cloud.environment.alarm_topic
    else:
        (topic,) = (each for each in cloud.resources if each.type == "AWS::SNS::Topic")
        expected = topic.id
        by_name = f"arn:aws:sns:eu-west-1:111122223333:{topic.properties['TopicName']}"
    told = {
        resource.stack: resource.properties["AlarmActions"]
        for resource in cloud.resources
        if resource.type == "AWS::CloudWatch::Alarm"
    }
    prefix = f"rollcall-{cloud.environment.name}"
    assert told == {f"{prefix}-operations": [expected], f"{prefix}-sums": [by_name]}


def test_the_topic_is_encrypted_with_a_key_that_alarms_may_use_and_takes_their_word_alone(
    clouds: dict[str, Cloud],
) -> None:
    cloud = clouds["prod"]
    (topic,), (key,) = cloud.of_type("AWS::SNS::Topic"), cloud.of_type("AWS::KMS::Key")
    (policy,) = cloud.of_type("AWS::SNS::TopicPolicy")
    assert topic["TopicName"] == "rollcall-prod-alarms"
    assert "KmsMasterKeyId" in topic
    assert key["EnableKeyRotation"] is True
    of_account = {"StringEquals": {"aws:SourceAccount": "111122223333"}}
    for document, actions in (
        (key["KeyPolicy"], ["kms:Decrypt", "kms:GenerateDataKey*"]),
        (policy["PolicyDocument"], "sns:Publish"),
    ):
        (allowed,) = (
            each
            for each in document["Statement"]
            if each["Effect"] == "Allow" and each["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        )
        assert (allowed["Action"], allowed["Condition"]) == (actions, of_account)
    (denied,) = (each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Deny")
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


# --- dashboards ---


def test_there_is_a_dashboard_over_all_jobs_and_one_for_each_system(cloud: Cloud) -> None:
    name = f"rollcall-{cloud.environment.name}"
    assert bodies(cloud).keys() == {name, *(f"{name}-{system}" for system in {each.system for each in cloud.jobs})}


def test_every_graph_shows_what_there_is(cloud: Cloud) -> None:
    metrics = list(shown(cloud))
    assert metrics
    for metric in metrics:
        assert objection(cloud, *metric) is None


def test_every_metric_of_ours_is_on_a_dashboard(cloud: Cloud) -> None:
    assert {name for namespace, name, _ in shown(cloud) if namespace == NAMESPACE} == {each.value for each in Metric}


def test_every_alarm_is_on_the_dashboard_over_all_jobs(cloud: Cloud) -> None:
    body = bodies(cloud)[f"rollcall-{cloud.environment.name}"]
    (widget,) = (each for each in body["widgets"] if each["type"] == "alarm")
    assert len(widget["properties"]["alarms"]) == len(alarms(cloud))


def test_a_systems_dashboard_has_a_block_for_each_of_its_jobs(case: tuple[Cloud, Declared]) -> None:
    cloud, declared = case
    body = bodies(cloud)[f"rollcall-{cloud.environment.name}-{declared.system}"]
    texts = [each["properties"]["markdown"] for each in body["widgets"] if each["type"] == "text"]
    assert any(text.startswith(f"## {declared.job.name}\n") for text in texts)


def test_every_graph_has_a_title_and_every_line_a_name(cloud: Cloud) -> None:
    for body in bodies(cloud).values():
        for widget in body["widgets"]:
            if widget["type"] == "metric":
                assert widget["properties"]["title"]
                assert all(each[-1].get("label") for each in widget["properties"]["metrics"])


# --- the stack ---


def test_it_is_deployed_after_the_watchdog_whose_silence_it_hears(cloud: Cloud) -> None:
    name = f"rollcall-{cloud.environment.name}"
    assert f"{name}-engine" in cloud.depends[f"{name}-operations"]
    # It makes the topic.
    assert [stack for stack, before in cloud.depends.items() if f"{name}-operations" in before] == [f"{name}-sums"]
