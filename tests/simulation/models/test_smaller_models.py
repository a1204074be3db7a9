"""The models of S3, EventBridge, Lambda and Secrets Manager, and the emulators, told the same stories."""

from typing import Any

import pytest

from rollcall.adapters.bus import DETAIL_TYPE, SOURCE
from tests.simulation.models import differences
from tests.simulation.models.stories import Side, new_name, refused
from tools.local_cloud.isolation import REGION

# --- S3 ---


@pytest.fixture
def bucket(side: Side) -> str:
    name = new_name("bucket")
    if side.services is None:
        side.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


def test_an_object_is_read_as_it_was_put(side: Side, bucket: str) -> None:
    for content in (b"first", "zweitens: \u00fc".encode(), b""):
        side.s3.put_object(Bucket=bucket, Key="run/1/000000.jsonl", Body=content)
        answer = side.s3.get_object(Bucket=bucket, Key="run/1/000000.jsonl")
        assert answer["ContentLength"] == len(content)
        assert answer["Body"].read() == content


def test_a_body_can_be_read_bit_by_bit(side: Side, bucket: str) -> None:
    side.s3.put_object(Bucket=bucket, Key="report", Body=b"abcde")
    body = side.s3.get_object(Bucket=bucket, Key="report")["Body"]
    assert [body.read(2), body.read(2), body.read(2), body.read(2)] == [b"ab", b"cd", b"e", b""]
    body.close()


def test_an_object_that_is_not_there_is_a_key_that_is_not_there(side: Side, bucket: str) -> None:
    side.s3.put_object(Bucket=bucket, Key="here", Body=b"")
    with pytest.raises(side.s3.exceptions.NoSuchKey) as failure:
        side.s3.get_object(Bucket=bucket, Key="elsewhere")
    assert failure.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_an_object_has_the_digest_of_its_content_and_the_facts_it_was_put_with(side: Side, bucket: str) -> None:
    put = side.s3.put_object(Bucket=bucket, Key="part", Body=b"abc", Metadata={"rows": "1"})
    found = side.s3.head_object(Bucket=bucket, Key="part")
    assert put["ETag"] == found["ETag"] == '"900150983cd24fb0d6963f7d28e17f72"'
    assert (found["ContentLength"], found["Metadata"]) == (3, {"rows": "1"})


def test_the_head_of_an_object_that_is_not_there_is_known_by_its_status(side: Side, bucket: str) -> None:
    assert refused(lambda: side.s3.head_object(Bucket=bucket, Key="nowhere")) == "404"


def test_an_object_that_must_be_new_is_not_replaced(side: Side, bucket: str) -> None:
    side.s3.put_object(Bucket=bucket, Key="part", Body=b"first", IfNoneMatch="*")
    again = refused(lambda: side.s3.put_object(Bucket=bucket, Key="part", Body=b"second", IfNoneMatch="*"))
    assert again == "PreconditionFailed"
    assert side.s3.get_object(Bucket=bucket, Key="part")["Body"].read() == b"first"


def test_keys_are_listed_by_prefix_in_their_order_until_they_are_deleted(side: Side, bucket: str) -> None:
    for key in ("b/2", "a/1", "b/1"):
        side.s3.put_object(Bucket=bucket, Key=key, Body=b"")
    side.s3.delete_object(Bucket=bucket, Key="never")

    def listed(prefix: str) -> list[str]:
        pages = side.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    assert (listed("b/"), listed("")) == (["b/1", "b/2"], ["a/1", "b/1", "b/2"])
    side.s3.delete_object(Bucket=bucket, Key="b/1")
    assert listed("b/") == ["b/2"]


def test_a_bucket_that_was_deleted_takes_and_gives_nothing(side: Side, bucket: str) -> None:
    side.s3.delete_bucket(Bucket=bucket)
    assert refused(lambda: side.s3.put_object(Bucket=bucket, Key="part", Body=b"")) == "NoSuchBucket"
    assert refused(lambda: side.s3.get_object(Bucket=bucket, Key="part")) == "NoSuchBucket"


# --- EventBridge ---


@pytest.fixture
def entry(side: Side) -> dict[str, Any]:
    """An entry of a bus that is there."""
    bus = new_name("bus")
    if side.services is None:
        side.events.create_event_bus(Name=bus)
    return {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": '{"run": "r"}', "EventBusName": bus}


def test_a_bus_names_each_event_that_it_took(side: Side, entry: dict[str, Any]) -> None:
    answer = side.events.put_events(Entries=[entry, entry])
    assert answer["FailedEntryCount"] == 0
    assert len({taken["EventId"] for taken in answer["Entries"]}) == 2


def test_an_event_that_cannot_be_taken_is_in_its_place_with_the_reason(side: Side, entry: dict[str, Any]) -> None:
    answer = side.events.put_events(Entries=[entry, {**entry, "Detail": "no JSON"}])
    assert answer["FailedEntryCount"] == side.expected(differences.MALFORMED_DETAIL, 1, ministack=0)
    codes = [taken.get("ErrorCode") for taken in answer["Entries"]]
    assert codes == side.expected(differences.MALFORMED_DETAIL, [None, "MalformedDetail"], ministack=[None, None])


def test_a_bus_takes_ten_events_at_once(side: Side, entry: dict[str, Any]) -> None:
    assert refused(lambda: side.events.put_events(Entries=[entry] * 11)) == "ValidationException"
    assert side.events.put_events(Entries=[entry] * 10)["FailedEntryCount"] == 0


# --- Lambda ---


def test_a_function_that_is_not_there_is_not_invoked(side: Side) -> None:
    refusal = refused(lambda: side.lambda_.invoke(FunctionName="nobody", InvocationType="Event", Payload=b"{}"))
    assert refusal == "ResourceNotFoundException"


def test_an_asynchronous_invocation_is_accepted_and_not_answered(model: Side) -> None:
    """The emulators are not asked: they would run the function."""
    heard: list[dict[str, Any]] = []
    assert model.services is not None
    model.services.lambda_.functions["fan-out"] = heard.append
    answer = model.lambda_.invoke(FunctionName="fan-out", InvocationType="Event", Payload=b'{"resume": "r"}')
    assert answer == {"StatusCode": 202}
    assert heard == [{"resume": "r"}]


# --- Secrets Manager ---


def test_a_secret_is_read_as_it_is_now(side: Side) -> None:
    name = new_name("secret")
    for text in ("old", "new"):
        _keep(side, name, text)
        answer = side.secretsmanager.get_secret_value(SecretId=name)
        assert (answer["Name"], answer["SecretString"]) == (name, text)


def _keep(side: Side, name: str, text: str) -> None:
    """Make a secret, or give it a new value."""
    if side.services is not None:
        side.services.secretsmanager.secrets[name] = text
    elif refused(lambda: side.secretsmanager.create_secret(Name=name, SecretString=text)):
        side.secretsmanager.put_secret_value(SecretId=name, SecretString=text)


def test_a_secret_that_is_not_there_is_not_found(side: Side) -> None:
    refusal = refused(lambda: side.secretsmanager.get_secret_value(SecretId="nobody"))
    assert refusal == "ResourceNotFoundException"


def test_a_secret_is_made_once_and_changed_where_it_is(side: Side) -> None:
    name = new_name("secret")
    vault = side.secretsmanager
    assert refused(lambda: vault.put_secret_value(SecretId=name, SecretString="x")) == "ResourceNotFoundException"
    vault.create_secret(Name=name, SecretString="old")
    assert refused(lambda: vault.create_secret(Name=name, SecretString="new")) == "ResourceExistsException"
    vault.put_secret_value(SecretId=name, SecretString="new")
    assert vault.get_secret_value(SecretId=name)["SecretString"] == "new"
    vault.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    assert refused(lambda: vault.get_secret_value(SecretId=name)) == "ResourceNotFoundException"
