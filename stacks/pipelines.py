"""What a pipeline may do beside its own runs: start those that its steps consist of, and be told how they end."""

from collections.abc import Iterable, Sequence

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from rollcall.core import names
from rollcall.core.catalog import Declared
from rollcall.core.errors import DeclarationError
from rollcall.core.pipeline import Pipeline
from stacks.environment import Environment
from stacks.function import Function
from stacks.keys import standing_of, waiters_of
from stacks.shared import Shared

#: Answers of whoever waits for a run; a used one changes nothing.
ANSWERS = ("states:SendTaskFailure", "states:SendTaskSuccess")


def check_pipelines(environment: str, deployed: Sequence[Declared]) -> None:
    """Raise DeclarationError for a step whose job is not deployed: its pipeline would wait for ever."""
    names_ = {each.job.name for each in deployed}
    for each in deployed:
        missing = set(each.job.fan_outs) - names_ if isinstance(each.job, Pipeline) else set()
        if missing:
            raise DeclarationError(
                f"environment {environment} deploys {each.job.name} without its steps {', '.join(sorted(missing))}; "
                f"add their systems to it in stacks/environments.py"
            )


def allow_steps(batch: Function, shared: Shared, environment: Environment, pipeline: Pipeline) -> None:
    """Let the function of a pipeline start the runs of its steps and see how they stand.

    One that has ended before anybody waits is answered by the function itself.
    """
    if not pipeline.fan_outs:
        return
    stack = Stack.of(batch)
    # By name: the job may be in another system's stack.
    fan_outs = [_fan_out(stack, environment, name) for name in pipeline.fan_outs]
    batch.allow(["lambda:InvokeFunction"], *fan_outs)
    shared.allow_reading(batch, [key for name in pipeline.fan_outs for key in standing_of(name)])
    shared.allow_items(batch, [waiters_of(name) for name in pipeline.fan_outs])
    batch.allow(ANSWERS, _machine(stack, environment, pipeline.name))


def allow_answering(
    scope: Construct, environment: Environment, jobs: Iterable[Declared], functions: Sequence[Function]
) -> None:
    """Let those who announce ends of runs tell the pipelines that wait for them."""
    stack = Stack.of(scope)
    waiting = [each.job.name for each in jobs if isinstance(each.job, Pipeline) and each.job.fan_outs]
    if waiting:
        iam.ManagedPolicy(
            scope,
            "Answering",
            statements=[
                iam.PolicyStatement(
                    actions=list(ANSWERS), resources=[_machine(stack, environment, name) for name in waiting]
                )
            ],
            roles=[function.role for function in functions],
        )


def _machine(stack: Stack, environment: Environment, pipeline: str) -> str:
    return stack.format_arn(
        service="states",
        resource="stateMachine",
        resource_name=names.state_machine_name(environment.name, pipeline),
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )


def _fan_out(stack: Stack, environment: Environment, job: str) -> str:
    return stack.format_arn(
        service="lambda",
        resource="function",
        resource_name=names.function_name(environment.name, "fan_out", job),
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
