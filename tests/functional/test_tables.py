"""The tables that jobs use: Python values, conditions told apart from other errors, and no table but the declared."""

import os
from collections.abc import Iterator
from decimal import Decimal
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError

from functions._runtime import Runtime
from rollcall import Bucket, ConditionFailed, DeclarationError, Secret, Table
from rollcall.adapters.clients import Clients
from rollcall.adapters.tables import TableItems
from rollcall.core.settings import Settings
from tests.unit.jobs import whole_job
from tools.local_cloud.resources import ENVIRONMENT, make_table

pytestmark = pytest.mark.on_moto

DUE = Table("due", key="id", indexes=(("by-state", "state", "day"),))
OTHER = Table("other", key="id")
ONCE = {"ConditionExpression": "attribute_not_exists(#key)", "ExpressionAttributeNames": {"#key": "id"}}
ITEM = {"id": "a", "state": "due", "day": "2026-11-21", "amount": Decimal("12.50"), "tags": {"x"}, "note": None}


@pytest.fixture
def items(aws: Clients) -> TableItems:
    make_table(aws.dynamodb, DUE)
    make_table(aws.dynamodb, OTHER)
    return TableItems(aws.tables, f"rollcall-{ENVIRONMENT}-due")


def test_values_come_back_as_they_went(items: TableItems) -> None:
    items.put_item(Item=ITEM)
    assert items.get_item(Key={"id": "a"})["Item"] == ITEM
    assert "Item" not in items.get_item(Key={"id": "b"})


def test_an_index_is_queried_by_its_name(items: TableItems) -> None:
    items.put_item(Item=ITEM)
    found = items.query(
        IndexName="by-state",
        KeyConditionExpression="#state = :state AND #day <= :day",
        ExpressionAttributeNames={"#state": "state", "#day": "day"},
        ExpressionAttributeValues={":state": "due", ":day": "2026-11-21"},
    )
    assert found["Items"] == [ITEM]


def test_a_condition_that_does_not_hold_says_what_it_met_and_writes_nothing(items: TableItems) -> None:
    items.put_item(Item=ITEM, **ONCE)
    with pytest.raises(ConditionFailed) as failed:
        items.put_item(Item={"id": "a"}, **ONCE)
    assert failed.value.old == ITEM
    with pytest.raises(ConditionFailed) as failed:
        items.update_item(
            Key={"id": "b"},
            UpdateExpression="SET #state = :state",
            ConditionExpression="attribute_exists(#state)",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":state": "done"},
        )
    assert failed.value.old == {}
    assert items.get_item(Key={"id": "a"})["Item"] == ITEM
    assert "Item" not in items.get_item(Key={"id": "b"})


def test_all_else_keeps_its_own_error(aws: Clients, items: TableItems) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        items.get_item(Key={"number": 1})
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        TableItems(aws.tables, "nowhere").put_item(Item=ITEM)


# --- What a job may use ---


@pytest.fixture
def runtime(aws: Clients, items: TableItems) -> Iterator[Runtime]:  # noqa: ARG001 - the tables must be there
    """A function's environment, for a job that needs one of the two tables and one secret."""
    aws.secretsmanager.create_secret(Name=f"rollcall/{ENVIRONMENT}/signing", SecretString="s1gn")
    runtime = Runtime()
    settings = Settings(environment=ENVIRONMENT, ledger="l", manifests="m", bus="b")
    job = whole_job(needs=[DUE, Secret("signing")])
    with patch.dict(vars(runtime), {"settings": settings, "clients": aws, "job": job}), patch.dict(os.environ):
        yield runtime


def test_a_job_uses_what_it_needs_as_this_environment_names_it(runtime: Runtime, items: TableItems) -> None:
    runtime.table(DUE).put_item(Item=ITEM)
    assert items.get_item(Key={"id": "a"})["Item"] == ITEM
    assert runtime.secret("signing") == "s1gn"


def test_a_job_uses_nothing_else(runtime: Runtime) -> None:
    with pytest.raises(DeclarationError, match="uses the table 'other', which is not among its needs; add it there"):
        runtime.table(OTHER)
    with pytest.raises(DeclarationError, match="uses the table 'due', which is not among"):
        runtime.table(Table("due", key="number"))
    with pytest.raises(DeclarationError, match="uses the secret 'workday', which is not among its needs"):
        runtime.secret("workday")
    with pytest.raises(DeclarationError, match="uses the bucket 'reports', which is not among its needs"):
        runtime.bucket(Bucket("reports"))
