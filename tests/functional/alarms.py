"""Synthesized alarms, and what CloudWatch would make of log lines for them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from aws_cdk import App, RemovalPolicy
from aws_cdk.aws_logs import RetentionDays

from rollcall.core.catalog import Declared
from rollcall.core.job import Job
from stacks.environment import Environment
from stacks.operations_stack import OperationsStack

Dimensions: TypeAlias = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Series:
    """What a metric is found by."""

    namespace: str
    name: str
    dimensions: Dimensions


Points: TypeAlias = Mapping[Series, list[float]]


def points(lines: Iterable[str]) -> Points:
    """The values in embedded metric format in log lines, by its specification
    (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
    """
    found: dict[Series, list[float]] = {}
    for line in lines:
        event = json.loads(line)
        for directive in event.get("_aws", {}).get("CloudWatchMetrics", ()):
            for names in directive["Dimensions"]:
                assert all(isinstance(event[name], str) for name in names), f"dimensions are texts: {event}"
                dimensions = frozenset((name, event[name]) for name in names)
                for metric in directive["Metrics"]:
                    value = event[metric["Name"]]
                    series = Series(directive["Namespace"], metric["Name"], dimensions)
                    found.setdefault(series, []).extend(value if isinstance(value, list) else [value])
    return found


@dataclass(frozen=True)
class OwnAlarm:
    """An alarm on one metric of ours."""

    name: str
    series: Series
    statistic: str
    comparison: str
    threshold: float
    missing: str

    def goes_off(self, found: Points) -> bool:
        """Whether these values, all within one period, are an alarm."""
        values = found.get(self.series)
        if values is None:
            return self.missing == "breaching"
        assert self.statistic in {"Sum", "Maximum"}
        value = sum(values) if self.statistic == "Sum" else max(values)
        if self.comparison == "GreaterThanOrEqualToThreshold":
            return value >= self.threshold
        assert self.comparison == "LessThanThreshold"
        return value < self.threshold


def synthesized(environment: str, jobs: Iterable[Job], folder: Path) -> list[OwnAlarm]:
    """The alarms on metrics of ours in the template of an environment with these jobs."""
    app = App(outdir=str(folder))
    stack = OperationsStack(
        app,
        "operations",
        environment=Environment(
            name=environment,
            systems=("tested",),
            targets={},
            reports={},
            schedules_enabled=True,
            manifest_retention_days=30,
            log_retention=RetentionDays.ONE_DAY,
            removal_policy=RemovalPolicy.DESTROY,
        ),
        jobs=[Declared(job, "tested", "a.module") for job in jobs],
        others=(),
    )
    template = app.synth().get_stack_by_name(stack.stack_name).template
    alarms = [each["Properties"] for each in template["Resources"].values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    # Those on AWS's metrics have an expression.
    return [_own(alarm) for alarm in alarms if not any("Expression" in each for each in alarm.get("Metrics", ()))]


def _own(alarm: Mapping[str, Any]) -> OwnAlarm:
    if "Metrics" in alarm:
        (asked,) = (each["MetricStat"] for each in alarm["Metrics"])
        metric, statistic = asked["Metric"], asked["Stat"]
    else:
        metric, statistic = alarm, alarm["Statistic"]
    dimensions = frozenset((each["Name"], each["Value"]) for each in metric["Dimensions"])
    return OwnAlarm(
        name=alarm["AlarmName"],
        series=Series(metric["Namespace"], metric["MetricName"], dimensions),
        statistic=statistic,
        comparison=alarm["ComparisonOperator"],
        threshold=alarm["Threshold"],
        missing=alarm["TreatMissingData"],
    )
