"""The stack of one system's dashboard."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import Stack
from constructs import Construct

from rollcall.core.catalog import Declared
from stacks.dashboards import SystemDashboard
from stacks.environment import Environment


class DashboardStack(Stack):
    """Apart from the alarms: those of all systems together would be more than a template takes."""

    def __init__(
        self, scope: Construct, id_: str, *, environment: Environment, jobs: Sequence[Declared], **stack: Any
    ) -> None:
        super().__init__(scope, id_, **stack)
        SystemDashboard(
            self, "System", environment=environment, system=jobs[0].system, jobs=[declared.job for declared in jobs]
        )
