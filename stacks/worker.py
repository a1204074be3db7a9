"""The function that calls a job's callback for every entry."""

from dataclasses import replace

from aws_cdk import aws_sqs as sqs
from aws_cdk.aws_lambda_event_sources import SqsEventSource
from constructs import Construct

from rollcall.core.catalog import Declared
from rollcall.core.sizing import worker_sizing
from stacks.environment import Environment
from stacks.function import Function
from stacks.keys import item_of_target, items_of
from stacks.needs import allow_needs
from stacks.runtime import Runtime
from stacks.shared import Shared

#: It waits for answers most of the time, and this is what a million entries are paid for.
MEMORY_MB = 256


class Worker(Function):
    """Queue to target to ledger, for one job; at most as many invocations at once as the environment has for it.

    The mapping holds that limit, so that no message is received that no invocation is free for; as much
    concurrency is reserved, so that other functions cannot take it away, unless the environment reserves none. It may
    read its own job's queue.
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
        queue: sqs.Queue,
    ) -> None:
        sizing = worker_sizing(declared.job)
        workers = environment.workers_of(declared.job)
        target = environment.target_of(declared.job)
        super().__init__(
            scope,
            id_,
            environment=environment,
            runtime=runtime,
            kind="worker",
            job=declared,
            settings=replace(
                shared.settings,
                job_module=declared.module,
                queue_url=queue.queue_url,
                target=target,
                buckets=environment.buckets_of(declared.job),
            ),
            timeout=sizing.timeout,
            memory_mb=MEMORY_MB,
            reserved_concurrency=None if environment.ceilings.reserved is None else workers,
        )
        # Brings the permissions to receive, delete and put off messages of this queue.
        self.function.add_event_source(
            SqsEventSource(
                queue,
                batch_size=sizing.batch_size,
                max_concurrency=workers,
                report_batch_item_failures=True,
            )
        )
        shared.allow_items(self, (*items_of(declared.job), item_of_target(declared.job)))
        self.allow_secrets(*([target.secret] if target.secret is not None else []))
        allow_needs(self, environment, declared.job)
