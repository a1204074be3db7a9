"""The stack that holds an environment's data."""

from collections.abc import Mapping

import pytest

from tests.stacks.cloud import Cloud, Resource

#: CloudFormation makes a resource anew, and empty, when its logical id changes.
PINNED = {
    "AWS::DynamoDB::Table": "LedgerTable9343E4AA",
    "AWS::S3::Bucket": "ManifestsBucket99AD6324",
    "AWS::Events::EventBus": "BusEA82B648",
}


def data(cloud: Cloud, type_: str) -> Resource:
    (found,) = (each for each in cloud.resources if each.type == type_)
    return found


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
