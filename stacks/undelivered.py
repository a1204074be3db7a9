"""Where events go that no function took."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from rollcall.core import names
from stacks.environment import Environment
from stacks.exceptions import accept


class Undelivered(Construct):
    """A standard queue (Scheduler and Lambda take no FIFO queue for this), for people to look at.

    Nothing depends on it: the watchdog starts again what died.
    """

    def __init__(self, scope: Construct, id_: str, *, environment: Environment, job: str | None = None) -> None:
        super().__init__(scope, id_)
        self.queue = sqs.Queue(
            self,
            "Queue",
            queue_name=names.undelivered_queue_name(environment.name, job),
            retention_period=Duration.days(14),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            removal_policy=RemovalPolicy.DESTROY,
        )
        accept(self.queue, "SQS3", "it is itself where undeliverable events end, and nothing receives from it")
