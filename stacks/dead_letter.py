"""The function that settles what a job's workers could not handle."""

from dataclasses import replace

from aws_cdk import aws_sqs as sqs
from aws_cdk.aws_lambda_event_sources import SqsEventSource
from constructs import Construct

from rollcall.core.catalog import Declared
from rollcall.core.sizing import BATCH_SIZE, DEAD_LETTER_TIMEOUT, LEAST_MAXIMUM_CONCURRENCY
from stacks.environment import Environment
from stacks.function import Function
from stacks.keys import items_of, runs_of
from stacks.runtime import Runtime
from stacks.shared import Shared


class DeadLetter(Function):
    """Dead-letter queue to ledger, for one job.

    One per job rather than one for all: so none can touch another job's messages, and a dead-letter queue that
    fills holds up no other. It costs the same, for what costs is the polling of each queue.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        runtime: Runtime,
        shared: Shared,
        declared: Declared,
        dead_letters: sqs.Queue,
    ) -> None:
        super().__init__(
            scope,
            id_,
            environment=environment,
            runtime=runtime,
            kind="dead_letter",
            job=declared,
            settings=replace(shared.settings, job_module=declared.module, queue_url=dead_letters.queue_url),
            timeout=DEAD_LETTER_TIMEOUT,
            memory_mb=512,
        )
        self.function.add_event_source(
            SqsEventSource(
                dead_letters,
                batch_size=BATCH_SIZE,
                max_concurrency=LEAST_MAXIMUM_CONCURRENCY,
                report_batch_item_failures=True,
            )
        )
        shared.allow_items(self, items_of(declared.job))
        shared.allow_objects(
            self,
            runs_of(declared.job.name),
            "s3:GetObject",
            because="what a letter says is compared with the manifest of its run; these are one job's",
        )
        shared.allow_objects(
            self, "dead_letter/*", "s3:PutObject", because="what belongs to no entry is kept under its message's id"
        )
