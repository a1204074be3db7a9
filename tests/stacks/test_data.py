"""The stacks that hold data: the environment's own, and the tables of its systems' jobs."""

from collections.abc import Mapping

import pytest

from rollcall import DeclarationError, Table
from rollcall.core.catalog import Declared
from stacks.tables_stack import tables_of
from tests.stacks.cloud import Cloud, Resource
from tests.unit.jobs import whole_job

#: CloudFormation makes a resource anew, and empty, when its logical id changes.
PINNED = {
    "AWS::DynamoDB::Table": "LedgerTable9343E4AA",
    "AWS::S3::Bucket": "ManifestsBucket99AD6324",
    "AWS::Events::EventBus": "BusEA82B648",
}


def data(cloud: Cloud, type_: str) -> Resource:
    """The environment's only resource of this type, but for the tables of jobs."""
    (found,) = (each for each in cloud.resources if each.type == type_ and each not in jobs_tables(cloud))
    return found


def jobs_tables(cloud: Cloud) -> list[Resource]:
    return [
        each
        for each in cloud.resources
        if each.type == "AWS::DynamoDB::Table"
        and each.properties["TableName"] != f"rollcall-{cloud.environment.name}-ledger"
    ]


def tables(cloud: Cloud) -> dict[str, Resource]:
    """The tables of jobs, by their full names."""
    return {each.properties["TableName"]: each for each in jobs_tables(cloud)}


@pytest.mark.parametrize("type_", PINNED)
def test_data_keep_their_logical_ids_in_a_stack_of_their_own(cloud: Cloud, type_: str) -> None:
    assert data(cloud, type_).id == PINNED[type_]
    assert data(cloud, type_).stack == f"rollcall-{cloud.environment.name}-ledger"


def test_the_ledger_is_paid_per_request_restorable_forgetful_and_streamed(cloud: Cloud) -> None:
    table = data(cloud, "AWS::DynamoDB::Table").properties
    assert table["KeySchema"] == [{"AttributeName": "pk", "KeyType": "HASH"}]
    assert table["AttributeDefinitions"] == [{"AttributeName": "pk", "AttributeType": "S"}]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_manifests_are_private_encrypted_and_expire(cloud: Cloud) -> None:
    bucket = data(cloud, "AWS::S3::Bucket").properties
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["ExpirationInDays"] == cloud.environment.manifest_retention_days
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    (statement,) = cloud.one("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_production_keeps_its_data_when_the_stack_goes(clouds: Mapping[str, Cloud]) -> None:
    for name, policy in {"dev": "Delete", "staging": "Delete", "prod": "Retain"}.items():
        assert data(clouds[name], "AWS::DynamoDB::Table").deletion_policy == policy
        assert data(clouds[name], "AWS::S3::Bucket").deletion_policy == policy
    assert data(clouds["prod"], "AWS::DynamoDB::Table").properties["DeletionProtectionEnabled"] is True


# --- The tables of jobs ---


def test_every_table_that_a_job_declares_is_made_once_in_its_systems_stack(cloud: Cloud) -> None:
    name = cloud.environment.name
    declared = {
        (f"rollcall-{name}-{table.name}", f"rollcall-{name}-tables-{each.system}")
        for each in cloud.jobs
        for table in each.job.tables
    }
    assert sorted((each.properties["TableName"], each.stack) for each in jobs_tables(cloud)) == sorted(declared)


def test_a_jobs_table_has_the_declared_key_and_indexes(cloud: Cloud) -> None:
    for table in {table for each in cloud.jobs for table in each.job.tables}:
        made = tables(cloud)[f"rollcall-{cloud.environment.name}-{table.name}"].properties
        assert made["KeySchema"] == [{"AttributeName": table.key, "KeyType": "HASH"}]
        indexes = {
            each["IndexName"]: [(key["AttributeName"], key["KeyType"]) for key in each["KeySchema"]]
            for each in made.get("GlobalSecondaryIndexes", [])
        }
        assert indexes == {name: [(first, "HASH"), (second, "RANGE")] for name, first, second in table.indexes}
        assert all(each["Projection"] == {"ProjectionType": "ALL"} for each in made.get("GlobalSecondaryIndexes", []))
        keys = {table.key, *(key for _, *both in table.indexes for key in both)}
        assert {each["AttributeName"] for each in made["AttributeDefinitions"]} == keys
        assert {each["AttributeType"] for each in made["AttributeDefinitions"]} == {"S"}


def test_a_jobs_table_is_paid_per_request_restorable_and_encrypted_and_never_forgets(cloud: Cloud) -> None:
    for name, table in tables(cloud).items():
        made = table.properties
        assert made["BillingMode"] == "PAY_PER_REQUEST", name
        assert made["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True, name
        assert made["SSESpecification"] == {"SSEEnabled": True}, name
        assert "TimeToLiveSpecification" not in made, name
        assert table.deletion_policy == ("Retain" if cloud.environment.retained else "Delete"), name
        assert made["DeletionProtectionEnabled"] is cloud.environment.retained, name


def test_jobs_tables_keep_their_logical_ids(clouds: Mapping[str, Cloud]) -> None:
    found = {name: table.id for name, table in tables(clouds["sample"]).items()}
    assert found == {"rollcall-sample-answers": "AnswersTable6C29FC0C", "rollcall-sample-due": "DueTableB581A069"}


def test_a_systems_jobs_are_deployed_after_their_tables(clouds: Mapping[str, Cloud]) -> None:
    assert "rollcall-sample-tables-payments" in clouds["sample"].depends["rollcall-sample-jobs-payments"]


def needing(name: str, system: str, *tables: Table) -> Declared:
    return Declared(whole_job(name, needs=tables), system, f"functions.jobs.{system}.{name}")


def test_jobs_of_a_system_may_share_a_table() -> None:
    due, answers = Table("due", key="id"), Table("answers", key="id")
    jobs = [needing("pay", "bank", due, answers), needing("refund", "bank", answers), needing("count", "books")]
    assert tables_of(jobs) == {"bank": (due, answers)}


@pytest.mark.parametrize(
    ("system", "table", "complaint"),
    [
        ("bank", Table("due", key="number"), "jobs pay and refund declare the table due differently; declare it once"),
        ("bank", Table("due", key="id", indexes=(("by-state", "state", "due"),)), "declare the table due differently"),
        ("books", Table("due", key="id"), "the table due is needed by jobs of two systems, bank and books"),
    ],
)
def test_a_table_that_is_declared_differently_or_by_two_systems_fails_synth(
    system: str, table: Table, complaint: str
) -> None:
    with pytest.raises(DeclarationError, match=complaint):
        tables_of([needing("pay", "bank", Table("due", key="id")), needing("refund", system, table)])


def test_no_table_is_called_as_the_engines_own() -> None:
    with pytest.raises(DeclarationError, match="the table name 'ledger' is taken"):
        Table("ledger", key="id")
