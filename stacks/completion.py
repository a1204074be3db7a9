"""The function that announces a run's end."""

from collections.abc import Sequence

from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk.aws_lambda_event_sources import SqsDlq
from constructs import Construct

from rollcall.core.catalog import Declared
from rollcall.core.run import TERMINAL
from rollcall.core.sizing import COMPLETION_TIMEOUT, STREAM_BATCH_SIZE
from stacks.environment import Environment
from stacks.function import Function
from stacks.runtime import Runtime
from stacks.shared import Shared


class Completion(Function):
    """Ledger stream to event bus and to the hooks of all jobs.

    Invoked only for runs in a terminal state. A record that fails is tried alone, a few times, and then put aside
    on `undelivered` so that the runs behind it are announced; the watchdog announces what was missed.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        runtime: Runtime,
        shared: Shared,
        jobs: Sequence[Declared],
        stream_arn: str,
        undelivered: sqs.IQueue,
    ) -> None:
        super().__init__(
            scope,
            id_,
            environment=environment,
            runtime=runtime,
            kind="completion",
            jobs=jobs,
            settings=shared.settings,
            timeout=COMPLETION_TIMEOUT,
            memory_mb=512,
        )
        shared.allow_items(self)
        shared.allow_announcing(self)
        self.allow(["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"], stream_arn)
        self.allow(["dynamodb:ListStreams"], "*", because="listing takes no resource: it is what finds streams")
        mapping = lambda_.EventSourceMapping(
            self,
            "Stream",
            target=self.function,
            event_source_arn=stream_arn,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            batch_size=STREAM_BATCH_SIZE,
            filters=[_ended_runs()],
            report_batch_item_failures=True,
            bisect_batch_on_error=True,
            retry_attempts=5,
            on_failure=SqsDlq(undelivered),
        )
        # Lambda tries the role's permissions when the mapping is made.
        mapping.node.add_dependency(self.role)


def _ended_runs() -> dict[str, str]:
    states = sorted(state.value for state in TERMINAL)
    run = {"pk": {"S": lambda_.FilterRule.begins_with("run#")}}
    return dict(lambda_.FilterCriteria.filter({"dynamodb": {"Keys": run, "NewImage": {"state": {"S": states}}}}))
