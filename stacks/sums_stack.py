"""The stack of alarms on sums of what AWS measures."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_sns as sns
from constructs import Construct

from rollcall.core.catalog import Declared
from stacks.alarm_topic import topic_arn
from stacks.alarms import SUMMED_RULES, alarms_of
from stacks.environment import Environment


class SumsStack(Stack):
    """Alarms on functions and queues, each on a sum over jobs.

    Apart from all else, for MiniStack takes no alarm on an expression and `make deploy-local` leaves it out.
    """

    def __init__(
        self, scope: Construct, id_: str, *, environment: Environment, jobs: Sequence[Declared], **stack: Any
    ) -> None:
        super().__init__(scope, id_, **stack)
        topic = sns.Topic.from_topic_arn(self, "Topic", topic_arn(self, environment))
        alarms = alarms_of(
            self, environment=environment, rules=SUMMED_RULES, jobs=[each.job for each in jobs], topic=topic
        )
        self.alarm_names = [*alarms]
