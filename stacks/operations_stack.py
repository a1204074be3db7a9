"""The stack of what people watch an environment by."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from aws_cdk import Stack
from constructs import Construct

from rollcall.core.catalog import Declared
from rollcall.core.job import Job
from stacks.alarm_topic import AlarmTopic
from stacks.alarms import Alarms
from stacks.dashboards import Dashboards
from stacks.environment import Environment


class OperationsStack(Stack):
    """Alarms and dashboards over `jobs`. Nothing depends on it: it can be deleted and made again at any time."""

    def __init__(
        self, scope: Construct, id_: str, *, environment: Environment, jobs: Sequence[Declared], **stack: Any
    ) -> None:
        super().__init__(scope, id_, **stack)
        topic = AlarmTopic(self, "AlarmTopic", environment=environment).topic
        names = [declared.job.name for declared in jobs]
        alarms = Alarms(self, "Alarms", environment=environment, jobs=names, topic=topic)
        own = [
            Alarms(self, _id(declared), environment=environment, jobs=names, topic=topic, job=declared.job.name)
            for declared in jobs
            if declared.job.own_alarms
        ]
        systems: dict[str, list[Job]] = defaultdict(list)
        for declared in jobs:
            systems[declared.system].append(declared.job)
        Dashboards(
            self,
            "Dashboards",
            environment=environment,
            systems=systems,
            alarms=[alarm for some in (alarms, *own) for alarm in some.alarms],
        )


def _id(declared: Declared) -> str:
    return "AlarmsOf" + "".join(word.title() for word in declared.job.name.split("-"))
