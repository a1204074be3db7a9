"""The function that enumerates a run, seals its manifest and dispatches it."""

from dataclasses import replace

from aws_cdk import aws_sqs as sqs
from constructs import Construct

from rollcall.core.catalog import Declared
from rollcall.core.sizing import FAN_OUT_TIMEOUT, LAMBDA_GIVES_UP_AFTER
from stacks.batches import StateMachine
from stacks.environment import Environment
from stacks.function import Function
from stacks.keys import items_of, runs_of
from stacks.needs import allow_needs, allow_reports
from stacks.runtime import Runtime
from stacks.shared import Shared

#: One whole processor: reading and writing the list is the one part of a run that does not run in parallel.
MEMORY_MB = 1_769


class FanOut(Function):
    """Report to manifest to queue or state machine, for one job.

    Started asynchronously, by the schedule or the watchdog; Lambda tries twice more, then the event goes to
    `undelivered`. It may write to its own job's queue and under its own runs' manifests.
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
        #: Where it delivers: one of the two.
        queue: sqs.Queue | None = None,
        state_machine: StateMachine | None = None,
        undelivered: sqs.IQueue,
    ) -> None:
        reports = environment.reports_of(declared.job)
        super().__init__(
            scope,
            id_,
            environment=environment,
            runtime=runtime,
            kind="fan_out",
            job=declared,
            settings=replace(
                shared.settings,
                job_module=declared.module,
                queue_url=queue.queue_url if queue is not None else None,
                state_machine=state_machine.arn if state_machine is not None else None,
                # For its rate here, on which the window depends.
                target=environment.target_of(declared.job),
                reports=reports,
                buckets=environment.buckets_of(declared.job),
            ),
            timeout=FAN_OUT_TIMEOUT,
            memory_mb=MEMORY_MB,
            retries=2,
            give_up_after=LAMBDA_GIVES_UP_AFTER,
            undelivered=undelivered,
        )
        shared.allow_runs(self, items_of(declared.job))
        shared.allow_objects(
            self,
            runs_of(declared.job.name),
            "s3:GetObject",
            "s3:PutObject",
            because="the manifests of one job's runs, whose names end in when they were due",
        )
        if queue is not None:
            # The API's batch form is allowed by the same action.
            self.allow(["sqs:SendMessage"], queue.queue_arn)
        if state_machine is not None:
            state_machine.allow_starting(self)
        allow_reports(self, reports)
        allow_needs(self, environment, declared.job)
