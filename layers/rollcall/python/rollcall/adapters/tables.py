"""The tables of jobs: boto3's client behind its resource, which takes and gives Python values."""

from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer

from rollcall.core.tables import ConditionFailed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class TableItems:
    """`rollcall.Items` of one table. The resource's own Table is not safe between threads, its client is."""

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        """`client` is one of a resource: `Clients.tables`."""
        self._client = client
        self._name = name

    def get_item(self, **kwargs: Any) -> dict[str, Any]:
        found: Any = self._client.get_item(TableName=self._name, **kwargs)
        return dict(found)

    def put_item(self, **kwargs: Any) -> dict[str, Any]:
        try:
            done: Any = self._client.put_item(TableName=self._name, **_with_old(kwargs))
        except self._client.exceptions.ConditionalCheckFailedException as error:
            raise _condition_failed(error.response) from error
        return dict(done)

    def update_item(self, **kwargs: Any) -> dict[str, Any]:
        try:
            done: Any = self._client.update_item(TableName=self._name, **_with_old(kwargs))
        except self._client.exceptions.ConditionalCheckFailedException as error:
            raise _condition_failed(error.response) from error
        return dict(done)

    def delete_item(self, **kwargs: Any) -> dict[str, Any]:
        try:
            done: Any = self._client.delete_item(TableName=self._name, **_with_old(kwargs))
        except self._client.exceptions.ConditionalCheckFailedException as error:
            raise _condition_failed(error.response) from error
        return dict(done)

    def query(self, **kwargs: Any) -> dict[str, Any]:
        found: Any = self._client.query(TableName=self._name, **kwargs)
        return dict(found)


def _with_old(kwargs: dict[str, Any]) -> dict[str, Any]:
    """With a condition comes what it met; that costs no read."""
    return {"ReturnValuesOnConditionCheckFailure": "ALL_OLD", **kwargs} if "ConditionExpression" in kwargs else kwargs


def _condition_failed(response: Any) -> ConditionFailed:
    # An error's item is not made into Python values by the resource.
    deserialize = TypeDeserializer().deserialize
    return ConditionFailed({name: deserialize(value) for name, value in response.get("Item", {}).items()})
