"""What people look at: one page over all jobs of an environment, and one for each of its systems."""

from collections.abc import Iterable, Mapping, Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from rollcall.core import names
from rollcall.core.job import Job
from rollcall.core.metrics import Metric
from rollcall.core.pipeline import Pipeline
from rollcall.core.values import batched
from stacks.environment import Environment
from stacks.measures import IN_FLIGHT, WAITING, measure, of_function, of_queue

#: Of the grid that CloudWatch lays widgets out on, a page is so wide
#: (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html).
WHOLE = 24
HEIGHT = 6
#: In one widget (same page).
MOST_ALARMS = 100
#: A week shows the rhythm of a daily job.
SHOWN = Duration.days(7)

RUNS = {
    Metric.RUNS_STARTED: "started",
    Metric.RUNS_COMPLETED: "complete",
    Metric.RUNS_REFUSED: "refused",
    Metric.RUNS_SKIPPED: "skipped",
    Metric.RUNS_CANCELLED: "cancelled",
    Metric.RUNS_MISSED: "missed",
}
OUTCOMES = {
    Metric.ENTRIES_SUCCEEDED: "succeeded",
    Metric.ENTRIES_REJECTED: "rejected",
    Metric.ENTRIES_FAILED: "failed",
    Metric.ENTRIES_UNKNOWN: "unknown",
    Metric.ENTRIES_CANCELLED: "cancelled",
}
LATE = {Metric.RUNS_OVERDUE: "past their deadline", Metric.RUNS_STALLED: "not moving"}


class Dashboard(Construct):
    """One page. Made of our metrics and AWS's about what is deployed; each costs $3 a month."""

    def __init__(self, scope: Construct, id_: str, *, environment: Environment) -> None:
        super().__init__(scope, id_)
        self._environment = environment

    def _show(self, system: str | None, rows: Sequence[Sequence[cloudwatch.IWidget]]) -> None:
        cloudwatch.Dashboard(
            self,
            "Page",
            dashboard_name=names.dashboard_name(self._environment.name, system),
            default_interval=SHOWN,
            widgets=rows,
        )

    def _measure(
        self, metric: Metric, statistic: str = "Sum", *, job: str | None = None, label: str
    ) -> cloudwatch.Metric:
        return measure(self._environment, metric, statistic, job=job, label=label)

    def _measures(
        self, labels: Mapping[Metric, str], statistic: str = "Sum", *, job: str | None = None
    ) -> list[cloudwatch.Metric]:
        return [self._measure(metric, statistic, job=job, label=label) for metric, label in labels.items()]

    def _by_job(self, jobs: Iterable[Job], *metrics: Metric, statistic: str = "Sum") -> list[cloudwatch.Metric]:
        return [
            self._measure(
                metric,
                statistic,
                job=job.name,
                label=job.name if len(metrics) == 1 else f"{job.name} {OUTCOMES[metric]}",
            )
            for job in jobs
            for metric in metrics
        ]

    def _graph(
        self,
        title: str,
        abreast: int,
        left: Sequence[cloudwatch.Metric],
        *,
        right: Sequence[cloudwatch.Metric] = (),
        axis: str = "",
        right_axis: str = "",
        stacked: bool = False,
    ) -> cloudwatch.GraphWidget:
        """One of so many graphs in a row."""
        return cloudwatch.GraphWidget(
            title=title,
            width=WHOLE // abreast,
            height=HEIGHT,
            left=list(left),
            right=list(right),
            left_y_axis=_axis(axis),
            right_y_axis=_axis(right_axis) if right else None,
            stacked=stacked,
        )


_BAD = (Metric.ENTRIES_FAILED, Metric.ENTRIES_UNKNOWN)


class JobsDashboard(Dashboard):
    """All jobs of an environment, its alarms and its engine."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        #: The jobs by their systems.
        systems: Mapping[str, Sequence[Job]],
        alarms: Sequence[cloudwatch.IAlarm],
    ) -> None:
        super().__init__(scope, id_, environment=environment)
        jobs = [job for some in systems.values() for job in some]
        self._show(None, [*self._opening(systems, alarms), *self._together(jobs), *self._engine(jobs)])

    def _opening(
        self, systems: Mapping[str, Sequence[Job]], alarms: Sequence[cloudwatch.IAlarm]
    ) -> Iterable[list[cloudwatch.IWidget]]:
        pages = ", ".join(f"`{names.dashboard_name(self._environment.name, system)}`" for system in systems)
        yield [
            _text(
                f"# All jobs, {self._environment.name}\nRed below: open the alarm, its description names the page of "
                f"the runbook that says what to do. A run ends once, and its entries are counted by outcome then. "
                f"Job by job: {pages or 'there are no jobs'}.",
                3,
            )
        ]
        for some in batched(alarms, MOST_ALARMS):
            yield [cloudwatch.AlarmStatusWidget(title="Alarms", alarms=[*some], width=WHOLE, height=4)]

    def _together(self, jobs: Sequence[Job]) -> Iterable[list[cloudwatch.IWidget]]:
        yield [
            self._graph("Runs", 3, self._measures(RUNS)),
            self._graph("Entries of ended runs, by outcome", 3, self._measures(OUTCOMES), stacked=True),
            self._graph("Late runs, as each minute finds them", 3, self._measures(LATE, "Maximum")),
        ]
        yield [
            self._graph("Entries that failed, or of which nobody knows", 3, self._by_job(jobs, *_BAD)),
            self._graph("Entries held back now", 3, self._by_job(jobs, Metric.ENTRIES_HELD, statistic="Maximum")),
            self._graph(
                "Age of the oldest entry that is not settled",
                3,
                self._by_job(jobs, Metric.OLDEST_UNSETTLED_ENTRY, statistic="Maximum"),
                axis="seconds",
            ),
        ]
        yield [
            self._graph(
                "How long complete runs took",
                2,
                self._by_job(jobs, Metric.RUN_DURATION, statistic="Maximum"),
                axis="seconds",
            ),
            self._graph(
                "Targets that fail: how long their breakers have been open",
                2,
                self._by_job(jobs, Metric.BREAKER_OPEN, statistic="Maximum"),
                axis="seconds",
            ),
        ]

    def _engine(self, jobs: Sequence[Job]) -> Iterable[list[cloudwatch.IWidget]]:
        environment = self._environment
        undelivered = {job.name: names.undelivered_queue_name(environment.name, job.name) for job in jobs}
        undelivered["the ledger's stream"] = names.undelivered_queue_name(environment.name)
        errors = [
            of_function(environment, kind, "Errors", label=kind.replace("_", " "))
            for kind in ("completion", "watchdog")
        ]
        yield [
            self._graph("Dead letters", 3, [self._measure(Metric.DEAD_LETTERS, label="settled or put aside")]),
            self._graph(
                "The watchdog's rounds, one a minute, and errors of what all jobs share",
                3,
                [self._measure(Metric.WATCHDOG_ROUNDS, label="rounds"), *errors],
            ),
            self._graph(
                "Starts and ends that no function took, kept for 14 days",
                3,
                [of_queue(queue, WAITING, label=label) for label, queue in undelivered.items()],
            ),
        ]


class SystemDashboard(Dashboard):
    """A block for each job of one system."""

    def __init__(
        self, scope: Construct, id_: str, *, environment: Environment, system: str, jobs: Sequence[Job]
    ) -> None:
        super().__init__(scope, id_, environment=environment)
        title = f"# {system}, {environment.name}\nOne block for each job: {', '.join(job.name for job in jobs)}."
        self._show(system, [[_text(title, 2)], *(row for job in jobs for row in self._job(job))])

    def _job(self, job: Job) -> Iterable[list[cloudwatch.IWidget]]:
        environment, name = self._environment, job.name
        expressions = ", ".join(f"`{expression}`" for expression in job.schedule.expressions())
        when = f"{expressions} in {job.schedule.timezone}" if expressions else "Started by hand or by a pipeline"
        steps = [step.name for step in job.steps] if isinstance(job, Pipeline) else []
        calls = f"does {', '.join(steps)}" if steps else f"calls {job.target.name}"
        yield [_text(f"## {name}\n{when}, {calls}, done within {job.deadline}.", 2)]
        yield [
            self._graph("Runs", 4, self._measures(RUNS, job=name)),
            self._graph("Entries of ended runs, by outcome", 4, self._measures(OUTCOMES, job=name), stacked=True),
            self._graph(
                "Entries held back now, and age of the oldest that is not settled",
                4,
                [self._measure(Metric.ENTRIES_HELD, "Maximum", job=name, label="held")],
                right=[
                    self._measure(Metric.OLDEST_UNSETTLED_ENTRY, "Maximum", job=name, label="oldest"),
                    self._measure(Metric.BREAKER_OPEN, "Maximum", job=name, label="breaker open for"),
                ],
                axis="entries",
                right_axis="seconds",
            ),
            self._graph(
                "How long complete runs took",
                4,
                [self._measure(Metric.RUN_DURATION, "Maximum", job=name, label="longest")],
                axis="seconds",
            ),
        ]
        queue = names.queue_name(environment.name, name)
        dead_letters = names.dead_letter_queue_name(environment.name, name)
        yield [
            self._graph(
                "Messages",
                4,
                [
                    of_queue(queue, WAITING, label="waiting"),
                    of_queue(queue, IN_FLIGHT, label="in flight"),
                    of_queue(dead_letters, WAITING, label="dead letters"),
                ],
            ),
            self._graph(
                "Workers at once",
                4,
                [of_function(environment, "worker", "ConcurrentExecutions", "Maximum", job=name, label="at once")],
            ),
            self._graph(
                "Functions that failed or were throttled",
                4,
                [
                    of_function(environment, "fan_out", "Errors", job=name, label="fan-out failed"),
                    of_function(environment, "worker", "Errors", job=name, label="worker failed"),
                    of_function(environment, "worker", "Throttles", job=name, label="worker throttled"),
                    of_function(environment, "dead_letter", "Errors", job=name, label="dead letter failed"),
                ],
            ),
            self._graph(
                "Trouble",
                4,
                [
                    self._measure(Metric.RUNS_OVERDUE, "Maximum", job=name, label="past its deadline"),
                    self._measure(Metric.RUNS_STALLED, "Maximum", job=name, label="not moving"),
                    self._measure(Metric.BREAKER_OPENINGS, job=name, label="breaker opened"),
                    self._measure(Metric.DEAD_LETTERS, job=name, label="dead letters"),
                ],
            ),
        ]


def _axis(label: str) -> cloudwatch.YAxisProps:
    return cloudwatch.YAxisProps(min=0, show_units=False, label=label or None)


def _text(markdown: str, height: int) -> cloudwatch.TextWidget:
    return cloudwatch.TextWidget(markdown=markdown, width=WHOLE, height=height)
