"""The stack of what people watch an environment by."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from rollcall.core.catalog import Declared
from rollcall.core.job import Job
from stacks.alarm_topic import AlarmTopic
from stacks.alarms import OUR_RULES, alarms_of
from stacks.dashboards import JobsDashboard
from stacks.environment import Environment


class OperationsStack(Stack):
    """The dashboard over all jobs, and alarms on our own metrics. It can be deleted and made again at any time.

    `others` are the names of alarms in other stacks, for the dashboard. By name, not by reference: those stacks come
    later, for their alarms tell the topic that is made here.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        jobs: Sequence[Declared],
        others: Sequence[str],
        **stack: Any,
    ) -> None:
        super().__init__(scope, id_, **stack)
        topic = AlarmTopic(self, "AlarmTopic", environment=environment).topic
        alarms = alarms_of(
            self, environment=environment, rules=OUR_RULES, jobs=[each.job for each in jobs], topic=topic
        )
        systems: dict[str, list[Job]] = defaultdict(list)
        for declared in jobs:
            systems[declared.system].append(declared.job)
        JobsDashboard(
            self,
            "Jobs",
            environment=environment,
            systems=systems,
            alarms=[*alarms.values(), *(self._other(name) for name in others)],
        )

    def _other(self, name: str) -> cloudwatch.IAlarm:
        arn = self.format_arn(
            service="cloudwatch", resource="alarm", resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
        )
        return cloudwatch.Alarm.from_alarm_arn(self, f"Alarm-{name}", arn)
