"""The stack of the functions that all jobs of an environment share."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import ArnFormat, Fn, Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from rollcall.core import names
from rollcall.core.catalog import Declared
from stacks.completion import Completion
from stacks.environment import Environment
from stacks.function import Function
from stacks.ledger import stream_export
from stacks.pipelines import allow_answering
from stacks.runtime import Build, Runtime
from stacks.shared import Shared
from stacks.undelivered import Undelivered
from stacks.watchdog import Watchdog

#: A managed policy takes 6,144 characters, of which a queue's ARN and its quotes take up to 134; a role takes ten such
#: policies (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html): enough for 200 jobs.
JOBS_IN_A_POLICY = 40


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
        # By name: a reference would keep a job's stack from ever dropping the job.
        fan_outs = [
            self.format_arn(
                service="lambda",
                resource="function",
                resource_name=names.function_name(environment.name, "fan_out", declared.job.name),
                arn_format=ArnFormat.COLON_RESOURCE_NAME,
            )
            for declared in jobs
        ]
        queues = [
            self.format_arn(service="sqs", resource=names.queue_name(environment.name, declared.job.name))
            for declared in jobs
            if declared.job.delivery is None
        ]
        self._allow("Starting", ["lambda:InvokeFunction"], fan_outs, self.completion, self.watchdog)
        allow_answering(self, environment, jobs, (self.completion, self.watchdog))
        self._allow("Counting", ["sqs:GetQueueUrl", "sqs:GetQueueAttributes"], queues, self.watchdog)

    def _allow(self, id_: str, actions: Sequence[str], resources: Sequence[str], *functions: Function) -> None:
        """In policies of their own: what a role's own policies may say in all is soon full."""
        for number, first in enumerate(range(0, len(resources), JOBS_IN_A_POLICY), 1):
            some = resources[first : first + JOBS_IN_A_POLICY]
            iam.ManagedPolicy(
                self,
                f"{id_}{number}",
                statements=[iam.PolicyStatement(actions=list(actions), resources=list(some))],
                roles=[function.role for function in functions],
            )
