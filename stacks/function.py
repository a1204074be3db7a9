"""A function of ours."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import cast

from aws_cdk import ArnFormat, Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from aws_cdk.aws_lambda_destinations import SqsDestination
from constructs import Construct

from rollcall.core import names
from rollcall.core.catalog import Declared
from rollcall.core.settings import Settings
from stacks.environment import Environment, Vpc
from stacks.exceptions import accept, accept_wildcard
from stacks.runtime import PYTHON, Runtime

#: What connects a function to a VPC.
NETWORK_ACTIONS = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)


class Function(Construct):
    """One handler with a role and a log group of its own; it may write its log, and whatever is granted later."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        runtime: Runtime,
        kind: str,
        job: Declared | None = None,
        #: Files to pack where the function serves no single job.
        jobs: Sequence[Declared] = (),
        settings: Settings,
        timeout: timedelta,
        memory_mb: int,
        reserved_concurrency: int | None = None,
        #: Asynchronous starts only.
        retries: int | None = None,
        give_up_after: timedelta | None = None,
        undelivered: sqs.IQueue | None = None,
    ) -> None:
        super().__init__(scope, id_)
        self.name = names.function_name(environment.name, kind, job.job.name if job else None)
        self.log_group = logs.LogGroup(
            self,
            "Log",
            log_group_name=f"/aws/lambda/{self.name}",
            retention=environment.log_retention,
            # A job that comes back under its old name must find the name of its log free.
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.log_group.grant_write(self.role)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=self.name,
            handler=f"functions.{kind}.handler.handler",
            code=runtime.code(kind, [job] if job else jobs),
            layers=runtime.layers,
            architecture=runtime.architecture,
            runtime=PYTHON,
            role=self.role,
            environment=settings.to_environ(),
            timeout=Duration.seconds(int(timeout.total_seconds())),
            memory_size=memory_mb,
            reserved_concurrent_executions=reserved_concurrency,
            retry_attempts=retries,
            max_event_age=None if give_up_after is None else Duration.seconds(int(give_up_after.total_seconds())),
            on_failure=None if undelivered is None else SqsDestination(undelivered),
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
        )
        accept(
            self.function,
            "L1",
            "the layer is built for this Python; a new one comes with a new layer, when all that is in it has wheels",
        )
        if environment.vpc is not None:
            self._place_in(environment.vpc)

    def allow(
        self,
        actions: Sequence[str],
        *resources: str,
        conditions: Mapping[str, object] | None = None,
        #: Why resources have wildcards, where they do.
        because: str | None = None,
    ) -> None:
        """Let the function do exactly `actions` on `resources` (ARNs)."""
        self.role.add_to_principal_policy(
            iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions or None)
        )
        if because is not None:
            for resource in resources:
                accept_wildcard(self.role, resource, because)

    def _place_in(self, vpc: Vpc) -> None:
        function = cast(lambda_.CfnFunction, self.function.node.default_child)
        function.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
            subnet_ids=list(vpc.subnet_ids), security_group_ids=list(vpc.security_group_ids)
        )
        arn = Stack.of(self).format_arn(
            service="lambda", resource="function", resource_name=self.name, arn_format=ArnFormat.COLON_RESOURCE_NAME
        )
        # What the function itself does carries its ARN, and is denied:
        # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
        because = "Lambda makes network interfaces in the role's name, and looks for them among all"
        self.allow(NETWORK_ACTIONS, "*", because=because)
        self.role.add_to_principal_policy(
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                actions=list(NETWORK_ACTIONS),
                resources=["*"],
                conditions={"ArnEquals": {"lambda:SourceFunctionArn": arn}},
            )
        )
        # Lambda tries the role's permissions when the function is made.
        function.node.add_dependency(self.role)

    def allow_secrets(self, *secrets: str) -> None:
        """Let the function read secrets, by name."""
        for secret in sorted(set(secrets)):
            arn = Stack.of(self).format_arn(
                service="secretsmanager",
                resource="secret",
                # Secrets Manager ends every ARN in six characters of its own.
                resource_name=f"{secret}-??????",
                arn_format=ArnFormat.COLON_RESOURCE_NAME,
            )
            self.allow(["secretsmanager:GetSecretValue"], arn)
