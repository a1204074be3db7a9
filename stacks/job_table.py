"""A table of jobs."""

from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from rollcall.core import names
from rollcall.core.target import Table
from stacks.environment import Environment


class JobTable(Construct):
    """One table as jobs declare it, with its indexes.

    Paid per request; can be restored to any second of the last 35 days; encrypted with the account's own key for
    DynamoDB, whose every use is in CloudTrail. Nothing of it expires.
    """

    def __init__(self, scope: Construct, id_: str, *, environment: Environment, table: Table) -> None:
        super().__init__(scope, id_)
        self.table = dynamodb.Table(
            self,
            "Table",
            table_name=names.table_name(environment.name, table.name),
            partition_key=_text(table.key),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            deletion_protection=environment.retained,
            removal_policy=environment.removal_policy,
        )
        for name, partition, sort in table.indexes:
            self.table.add_global_secondary_index(index_name=name, partition_key=_text(partition), sort_key=_text(sort))


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
