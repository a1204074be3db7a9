"""The ledger's table."""

from aws_cdk import CfnOutput
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from rollcall.core import names
from stacks.environment import Environment


def stream_export(environment: Environment) -> str:
    """The name under which the stream's ARN is known to the engine's stack; it cannot be told from the table's name."""
    return f"{names.ledger_name(environment.name)}-stream"


class Ledger(Construct):
    """Runs, counts, entries and jobs, under one key each.

    Paid per request; can be restored to any second of the last 35 days; records go once their `expires_at` is
    past. Its stream tells completion of every change.
    """

    def __init__(self, scope: Construct, id_: str, *, environment: Environment) -> None:
        super().__init__(scope, id_)
        self.table = dynamodb.Table(
            self,
            "Table",
            table_name=names.ledger_name(environment.name),
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expires_at",
            stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
            deletion_protection=environment.retained,
            removal_policy=environment.removal_policy,
        )
        CfnOutput(self, "Stream", value=str(self.table.table_stream_arn), export_name=stream_export(environment))
