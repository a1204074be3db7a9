"""The stack of one system's jobs."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import Stack
from constructs import Construct

from rollcall.core.catalog import Declared
from stacks.environment import Environment
from stacks.job_pipeline import JobPipeline
from stacks.runtime import Build, Runtime
from stacks.shared import Shared


class JobsStack(Stack):
    """A pipeline for each of `jobs`, independent of one another."""

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
        shared = Shared(self, "Shared", environment=environment)
        runtime = Runtime(self, "Runtime", build=build)
        self.pipelines = {
            declared.job.name: JobPipeline(
                self, _id(declared), environment=environment, runtime=runtime, shared=shared, declared=declared
            )
            for declared in jobs
        }


def _id(declared: Declared) -> str:
    return "".join(word.title() for word in declared.job.name.split("-"))
