"""A job's queue and dead-letter queue."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from rollcall.core import names, sizing
from rollcall.core.job import Job
from stacks.environment import Environment


class JobQueue(Construct):
    """A high-throughput FIFO queue: one message per entry, one at a time per entity.

    What the workers could not handle at all goes to the dead-letter queue. Deduplication is by content and per
    group, a filter on sends within five minutes. Encrypted by SQS, TLS only. Costs nothing while it is empty
    but the polls of its mappings.
    """

    def __init__(self, scope: Construct, id_: str, *, environment: Environment, job: Job) -> None:
        super().__init__(scope, id_)
        self.dead_letters = self._fifo(
            "DeadLetters",
            name=names.dead_letter_queue_name(environment.name, job.name),
            visibility=Duration.seconds(int(sizing.DEAD_LETTER_VISIBILITY.total_seconds())),
            retention=Duration.days(sizing.DEAD_LETTER_RETENTION.days),
        )
        self.queue = self._fifo(
            "Queue",
            name=names.queue_name(environment.name, job.name),
            visibility=Duration.seconds(int(sizing.worker_sizing(job).visibility.total_seconds())),
            retention=Duration.days(sizing.QUEUE_RETENTION.days),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=sizing.MAX_RECEIVE_COUNT),
        )

    def _fifo(
        self,
        id_: str,
        *,
        name: str,
        visibility: Duration,
        retention: Duration,
        dead_letter_queue: sqs.DeadLetterQueue | None = None,
    ) -> sqs.Queue:
        return sqs.Queue(
            self,
            id_,
            queue_name=name,
            fifo=True,
            content_based_deduplication=True,
            deduplication_scope=sqs.DeduplicationScope.MESSAGE_GROUP,
            fifo_throughput_limit=sqs.FifoThroughputLimit.PER_MESSAGE_GROUP_ID,
            visibility_timeout=visibility,
            retention_period=retention,
            dead_letter_queue=dead_letter_queue,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            removal_policy=RemovalPolicy.DESTROY,
        )
