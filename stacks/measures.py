"""Metrics as alarms and dashboards take them: our own, and AWS's about what is deployed, found by name."""

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from rollcall.core import names
from rollcall.core.job import Job
from rollcall.core.metrics import ENVIRONMENT, JOB, NAMESPACE, Metric
from stacks.environment import Environment

FIVE_MINUTES = Duration.minutes(5)
#: Together all messages of a queue.
WAITING, IN_FLIGHT = "ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"


def measure(
    environment: Environment,
    metric: Metric,
    statistic: str = "Sum",
    *,
    #: None: over all jobs.
    job: str | None = None,
    label: str | None = None,
    period: Duration = FIVE_MINUTES,
) -> cloudwatch.Metric:
    """One of our metrics."""
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name=metric.value,
        dimensions_map={ENVIRONMENT: environment.name} | ({} if job is None else {JOB: job}),
        statistic=statistic,
        label=label,
        period=period,
    )


def of_function(
    environment: Environment,
    kind: str,
    metric: str,
    statistic: str = "Sum",
    *,
    job: str | None = None,
    label: str,
    period: Duration = FIVE_MINUTES,
) -> cloudwatch.Metric:
    """https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html"""
    return cloudwatch.Metric(
        namespace="AWS/Lambda",
        metric_name=metric,
        dimensions_map={"FunctionName": names.function_name(environment.name, kind, job)},
        statistic=statistic,
        label=label,
        period=period,
    )


def of_queue(queue: str, metric: str, *, label: str, period: Duration = FIVE_MINUTES) -> cloudwatch.Metric:
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"""
    return cloudwatch.Metric(
        namespace="AWS/SQS",
        metric_name=metric,
        dimensions_map={"QueueName": queue},
        statistic="Maximum",
        label=label,
        period=period,
    )


def of_state_machine(
    scope: Construct,
    environment: Environment,
    job: str,
    metric: str,
    *,
    label: str,
    period: Duration = FIVE_MINUTES,
) -> cloudwatch.Metric:
    """https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html"""
    arn = Stack.of(scope).format_arn(
        service="states",
        resource="stateMachine",
        resource_name=names.state_machine_name(environment.name, job),
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    return cloudwatch.Metric(
        namespace="AWS/States",
        metric_name=metric,
        dimensions_map={"StateMachineArn": arn},
        statistic="Sum",
        label=label,
        period=period,
    )


def caller_of(job: Job) -> str:
    """The kind of function that calls the target for `job`."""
    return "worker" if job.delivery is None else "batch"
