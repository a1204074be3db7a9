"""The function and the state machine of a job that is delivered in bounded batches, and of a pipeline."""

import json
from dataclasses import replace

from aws_cdk import ArnFormat, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from rollcall.core import names
from rollcall.core.catalog import Declared
from rollcall.core.job import Job
from rollcall.core.sizing import worker_sizing
from rollcall.core.state_machine import definition_of
from stacks.environment import Environment
from stacks.exceptions import accept, accept_wildcard
from stacks.function import Function
from stacks.keys import item_of_target, items_of, runs_of
from stacks.needs import allow_needs
from stacks.runtime import Runtime
from stacks.shared import Shared

#: As the workers of a queue.
MEMORY_MB = 256
#: Where the template's definition has the ARN of the function.
FUNCTION = "BatchFunction"


class Batch(Function):
    """One slice of a manifest to target to ledger; at once no more invocations than the environment has for it."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        runtime: Runtime,
        shared: Shared,
        declared: Declared,
    ) -> None:
        sizing = worker_sizing(declared.job)
        target = environment.target_of(declared.job)
        super().__init__(
            scope,
            id_,
            environment=environment,
            runtime=runtime,
            kind="batch",
            job=declared,
            settings=replace(
                shared.settings,
                job_module=declared.module,
                target=target,
                buckets=environment.buckets_of(declared.job),
            ),
            timeout=sizing.timeout,
            memory_mb=MEMORY_MB,
            reserved_concurrency=None
            if environment.ceilings.reserved is None
            else environment.workers_of(declared.job),
        )
        shared.allow_items(self, (*items_of(declared.job), item_of_target(declared.job)))
        shared.allow_objects(
            self, runs_of(declared.job.name), "s3:GetObject", because="a slice's lines are in the manifest of its run"
        )
        self.allow_secrets(*([target.secret] if target is not None and target.secret is not None else []))
        allow_needs(self, environment, declared.job)


class StateMachine(Construct):
    """Goes over the slices or steps of a run's manifest; it may invoke its batch function and write its log.

    The log has every step of every execution, which names runs and slices and no payload.
    """

    def __init__(self, scope: Construct, id_: str, *, environment: Environment, job: Job, batch: Function) -> None:
        super().__init__(scope, id_)
        self._job = job.name
        self.name = names.state_machine_name(environment.name, job.name)
        log_group = logs.LogGroup(
            self,
            "Log",
            # AWS's own prefix: else each log group lengthens a resource policy that has a limit
            # (https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html).
            log_group_name=f"/aws/vendedlogs/states/{self.name}",
            retention=environment.log_retention,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        self.role.add_to_principal_policy(
            iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[batch.function.function_arn])
        )
        self.machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_name=self.name,
            state_machine_type=sfn.StateMachineType.STANDARD,
            definition_body=sfn.DefinitionBody.from_string(
                json.dumps(definition_of(job, f"${{{FUNCTION}}}", environment.workers_of(job)), indent=2)
            ),
            definition_substitutions={FUNCTION: batch.function.function_arn},
            role=self.role,
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False),
        )
        accept_wildcard(self.role, "*", "the delivery of logs has no resources to name")
        accept(self.machine, "SF2", "what happens is in its log and in the ledger; nobody looks at traces")

    @property
    def arn(self) -> str:
        arn: str = self.machine.state_machine_arn
        return arn

    def allow_starting(self, function: Function) -> None:
        """Let `function` start executions and see how those of the job's runs ended."""
        executions = Stack.of(self).format_arn(
            service="states",
            resource="execution",
            resource_name=f"{self.name}:{runs_of(self._job)}",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        function.allow(["states:StartExecution"], self.arn)
        function.allow(
            ["states:DescribeExecution"],
            executions,
            because="executions of one job's runs, whose names end in their time",
        )
