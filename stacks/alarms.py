"""What wakes somebody up. Each alarm has a page in docs/runbook that says what happened and what to do."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sns as sns
from aws_cdk.aws_cloudwatch_actions import SnsAction
from constructs import Construct

from rollcall.core import names
from rollcall.core.job import Job
from rollcall.core.metrics import Metric
from stacks.environment import Environment
from stacks.measures import IN_FLIGHT, WAITING, caller_of, measure, of_function, of_queue, of_state_machine

#: The most metrics that an alarm's expression may take
#: (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html).
MOST_METRICS = 10
#: A breaker that opens for a minute or two has done its work; this long, somebody must talk to the target's people.
BREAKER_OPEN_TOO_LONG = timedelta(minutes=15)
#: For functions that take up to a quarter of an hour, and what they had in hand six times as long to come back. Lambda
#: dates an error by when its invocation began, so a shorter window has gone by when it is told
#: (https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics.html).
HOUR = 60

#: AWS's metrics about a resource of a job; none where the job has no such resource.
OfResource: TypeAlias = Callable[[Construct, Environment, Job, Duration], list[cloudwatch.Metric]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a metric of ours is an alarm, or a sum of AWS's over jobs. No data is no alarm, but for `silence`."""

    #: Names the alarm and its page, docs/runbook/<name>.md.
    name: str
    says: str
    watches: Metric | OfResource
    #: Of a metric of ours.
    statistic: str = "Sum"
    at_least: float = 1
    #: Within so many minutes, so many times in a row.
    minutes: int = 5
    periods: int = 1
    #: An alarm where it is less than that, or where there is nothing at all.
    silence: bool = False


def _of_fan_out(_: Construct, environment: Environment, job: Job, period: Duration) -> list[cloudwatch.Metric]:
    return [of_function(environment, "fan_out", "Errors", job=job.name, label=job.name, period=period)]


def _of_caller(metric: str) -> OfResource:
    return lambda _, environment, job, period: [
        of_function(environment, caller_of(job), metric, job=job.name, label=job.name, period=period)
    ]


def _of_dead_letter_queue(
    _: Construct, environment: Environment, job: Job, period: Duration
) -> list[cloudwatch.Metric]:
    if job.delivery is not None:
        return []
    queue = names.dead_letter_queue_name(environment.name, job.name)
    return [
        of_queue(queue, WAITING, label=f"{job.name}, waiting", period=period),
        of_queue(queue, IN_FLIGHT, label=f"{job.name}, in flight", period=period),
    ]


def _of_executions(scope: Construct, environment: Environment, job: Job, period: Duration) -> list[cloudwatch.Metric]:
    if job.delivery is None:
        return []
    return [of_state_machine(scope, environment, job.name, "ExecutionsFailed", label=job.name, period=period)]


#: All but the last are there for single jobs, too, where these ask for alarms of their own.
RULES = (
    Rule(name="entries-failed", says="A run ended with entries that failed.", watches=Metric.ENTRIES_FAILED),
    Rule(
        name="entries-unknown",
        says="A run ended with entries of which nobody knows what the target did.",
        watches=Metric.ENTRIES_UNKNOWN,
    ),
    Rule(
        name="dead-letters",
        says="Messages that no worker could handle were settled or put aside.",
        watches=Metric.DEAD_LETTERS,
    ),
    Rule(name="run-refused", says="A run was refused: nobody was called.", watches=Metric.RUNS_REFUSED),
    Rule(name="run-missed", says="A schedule did not start its run.", watches=Metric.RUNS_MISSED),
    Rule(name="run-overdue", says="A run has not ended by its deadline.", watches=Metric.RUNS_OVERDUE),
    Rule(name="run-stalled", says="A run has not moved for an hour.", watches=Metric.RUNS_STALLED),
    Rule(
        name="breaker-open",
        says="Runs wait for a target that has failed for a quarter of an hour.",
        watches=Metric.BREAKER_OPEN,
        statistic="Maximum",
        at_least=BREAKER_OPEN_TOO_LONG.total_seconds(),
    ),
    Rule(
        name="fan-out-failing",
        says="A fan-out function fails, and so do its retries.",
        watches=_of_fan_out,
        # An event is tried three times.
        at_least=3,
        minutes=HOUR,
    ),
    Rule(
        name="workers-failing",
        says="Worker or batch functions crash, or run out of time or memory.",
        watches=_of_caller("Errors"),
        # As many as one entry causes that takes down each worker that calls it; a batch is tried four times.
        at_least=5,
        minutes=HOUR,
    ),
    Rule(
        name="workers-throttled",
        says="Worker or batch functions get no room to run.",
        watches=_of_caller("Throttles"),
        # Batches that found no room are tried again by the watchdog, some eight minutes later.
        minutes=10,
        periods=2,
    ),
    Rule(
        name="dead-letter-queue-stuck",
        says="A dead-letter queue has not been empty for an hour.",
        watches=_of_dead_letter_queue,
        periods=12,
    ),
    Rule(
        name="executions-failed",
        says="A state machine gave up a run's batches.",
        watches=_of_executions,
        # Step Functions may tell of it late.
        minutes=15,
    ),
    Rule(
        name="watchdog-silent",
        says="The watchdog does not come through its rounds: nobody would notice what else goes wrong.",
        watches=Metric.WATCHDOG_ROUNDS,
        periods=2,
        silence=True,
    ),
)


#: On our metrics, and on sums of AWS's.
OUR_RULES = tuple(rule for rule in RULES if isinstance(rule.watches, Metric))
SUMMED_RULES = tuple(rule for rule in RULES if not isinstance(rule.watches, Metric))


class Alarms(Construct):
    """The alarms of `rules` in an environment, over all its jobs, or those of one job; each tells `topic`.

    A metric of ours has one sum over all jobs. AWS's have none, so an alarm adds up those of as many jobs as it can
    take, and there is a second one, and so on, for the others. An alarm costs $0.10 a month for each metric it takes.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        rules: Sequence[Rule],
        jobs: Sequence[Job],
        topic: sns.ITopic,
        #: The one job that they are for.
        job: Job | None = None,
    ) -> None:
        super().__init__(scope, id_)
        self._environment = environment
        self._action = SnsAction(topic)
        #: By their names.
        self.alarms = dict(
            self._alarm(rule, metric, number, job.name if job is not None else None)
            for rule in rules
            if job is None or not rule.silence
            for number, metric in enumerate(self._metrics(rule, jobs, job), start=1)
        )

    def _metrics(self, rule: Rule, jobs: Sequence[Job], job: Job | None) -> Iterator[cloudwatch.IMetric]:
        period = Duration.minutes(rule.minutes)
        if isinstance(rule.watches, Metric):
            name = job.name if job is not None else None
            yield measure(self._environment, rule.watches, rule.statistic, job=name, period=period)
            return
        some_jobs = jobs if job is None else [job]
        metrics = [metric for each in some_jobs for metric in rule.watches(self, self._environment, each, period)]
        for first in range(0, len(metrics), MOST_METRICS):
            some = {f"m{number}": metric for number, metric in enumerate(metrics[first : first + MOST_METRICS])}
            filled = ", ".join(f"FILL({name}, 0)" for name in some)
            yield cloudwatch.MathExpression(
                expression=f"SUM([{filled}])", using_metrics=some, label="together", period=period
            )

    def _alarm(
        self, rule: Rule, metric: cloudwatch.IMetric, number: int, job: str | None
    ) -> tuple[str, cloudwatch.Alarm]:
        id_ = rule.name if number == 1 else f"{rule.name}-{number}"
        name = names.alarm_name(self._environment.name, id_, job)
        comparison = cloudwatch.ComparisonOperator
        missing = cloudwatch.TreatMissingData
        alarm = cloudwatch.Alarm(
            self,
            "".join(word.title() for word in id_.split("-")),
            alarm_name=name,
            alarm_description=f"{rule.says} What to do: docs/runbook/{rule.name}.md",
            metric=metric,
            threshold=rule.at_least,
            comparison_operator=comparison.LESS_THAN_THRESHOLD
            if rule.silence
            else comparison.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=rule.periods,
            treat_missing_data=missing.BREACHING if rule.silence else missing.NOT_BREACHING,
        )
        alarm.add_alarm_action(self._action)
        return name, alarm


def alarms_of(
    scope: Construct, *, environment: Environment, rules: Sequence[Rule], jobs: Sequence[Job], topic: sns.ITopic
) -> dict[str, cloudwatch.Alarm]:
    """The set over all jobs, and one for each job that asks for its own; by their names."""
    found = dict(Alarms(scope, "Alarms", environment=environment, rules=rules, jobs=jobs, topic=topic).alarms)
    for job in (each for each in jobs if each.own_alarms):
        id_ = "AlarmsOf" + "".join(word.title() for word in job.name.split("-"))
        own = Alarms(scope, id_, environment=environment, rules=rules, jobs=jobs, topic=topic, job=job)
        found |= own.alarms
    return found
