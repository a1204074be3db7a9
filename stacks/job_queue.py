"""A job's queue and dead-letter queue."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from rollcall.core import names, sizing
from rollcall.core.job import Job
from stacks.environment import Environment


class JobQueue(Construct):
    """A high-throughput FIFO queue: one message per entry, one at a time per entity.

    What the workers could not handle at all goes to the dead-letter queue. Deduplication is by content and per
    group, a filter on sends within five minutes. Encrypted by SQS, TLS only, and only one role sends. Costs nothing
    while it is empty but the polls of its mappings.
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

    def take_from(self, sender: iam.IRole) -> None:
        """Deny everybody but `sender` to send, whatever else they may do in the account.

        What is sent is believed. A role's sessions have its own ARN here
        (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html).
        """
        self.queue.add_to_resource_policy(
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                # The API's batch form is denied by the same action.
                actions=["sqs:SendMessage"],
                resources=[self.queue.queue_arn],
                conditions={"ArnNotEquals": {"aws:PrincipalArn": sender.role_arn}},
            )
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
