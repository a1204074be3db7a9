"""The stack of the functions that all jobs of an environment share."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import ArnFormat, Fn, Stack
from constructs import Construct

from rollcall.core import names
from rollcall.core.catalog import Declared
from stacks.completion import Completion
from stacks.environment import Environment
from stacks.function import Function
from stacks.ledger import stream_export
from stacks.runtime import Build, Runtime
from stacks.shared import Shared
from stacks.undelivered import Undelivered
from stacks.watchdog import Watchdog


class EngineStack(Stack):
    """Completion and watchdog, with the files of all `jobs`, for their hooks, schedules and deadlines."""

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
        undelivered = Undelivered(self, "Undelivered", environment=environment)
        self.completion = Completion(
            self,
            "Completion",
            environment=environment,
            runtime=runtime,
            shared=shared,
            jobs=jobs,
            stream_arn=Fn.import_value(stream_export(environment)),
            undelivered=undelivered.queue,
        )
        self.watchdog = Watchdog(self, "Watchdog", environment=environment, runtime=runtime, shared=shared, jobs=jobs)
        for function in (self.completion, self.watchdog):
            self._allow_starting(function, environment, jobs)

    def _allow_starting(self, function: Function, environment: Environment, jobs: Sequence[Declared]) -> None:
        # By name: a reference would keep a job's stack from ever dropping the job.
        arns = [
            self.format_arn(
                service="lambda",
                resource="function",
                resource_name=names.function_name(environment.name, "fan_out", declared.job.name),
                arn_format=ArnFormat.COLON_RESOURCE_NAME,
            )
            for declared in jobs
        ]
        if arns:
            function.allow(["lambda:InvokeFunction"], *arns)
