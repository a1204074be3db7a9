"""The stack of one system's jobs."""

from collections.abc import Iterable, Sequence
from typing import Any

from aws_cdk import Stack
from constructs import Construct

from rollcall.core.catalog import Declared
from rollcall.core.errors import DeclarationError
from stacks.environment import Environment
from stacks.job_pipeline import JobPipeline
from stacks.runtime import Build, Runtime
from stacks.shared import Shared

#: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
MOST_RESOURCES = 500
#: The layers of a stack; and of a job by queue or in batches, all but its schedules.
LAYERS, BY_QUEUE, IN_BATCHES = 2, 22, 16


class JobsStack(Stack):
    """A pipeline for each of `jobs`, independent of one another.

    Raises DeclarationError for more jobs than CloudFormation takes in a stack.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        jobs: Sequence[Declared],
        build: Build,
        **stack: Any,
    ) -> None:
        super().__init__(scope, id_, **stack)
        if (resources := resources_of(jobs)) > MOST_RESOURCES:
            raise DeclarationError(
                f"the {len(jobs)} jobs in functions/jobs/{jobs[0].system} take {resources} resources, and "
                f"CloudFormation {MOST_RESOURCES} in a stack; put the new ones into a folder of their own beside it"
            )
        shared = Shared(self, "Shared", environment=environment)
        runtime = Runtime(self, "Runtime", build=build)
        self.pipelines = {
            declared.job.name: JobPipeline(
                self, _id(declared), environment=environment, runtime=runtime, shared=shared, declared=declared
            )
            for declared in jobs
        }


def resources_of(jobs: Iterable[Declared]) -> int:
    """How many resources a stack of `jobs` has."""
    return LAYERS + sum(
        (BY_QUEUE if declared.job.delivery is None else IN_BATCHES) + len(list(declared.job.schedule.expressions()))
        for declared in jobs
    )


def _id(declared: Declared) -> str:
    return "".join(word.title() for word in declared.job.name.split("-"))
