"""The tables of jobs: DynamoDB with Python values in place of typed attributes, as boto3's resource has it."""

from collections.abc import Mapping, Sequence
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from tests.simulation.models.dynamodb import DynamoDB
from tests.simulation.models.gate import Client
from tests.simulation.models.refusals import DynamoDBErrors

_to_wire = TypeSerializer().serialize
_from_wire = TypeDeserializer().deserialize

#: Where requests and answers hold values by name.
_VALUES = ("Key", "Item", "Attributes", "ExpressionAttributeValues", "ExclusiveStartKey", "LastEvaluatedKey")


class PlainDynamoDB:
    """The operations that jobs may use. An error's item stays in attribute form, as the resource leaves it."""

    exceptions = DynamoDBErrors

    def __init__(self, model: DynamoDB | Client) -> None:
        """`model` is the service, or a client of it, whose gate then sees requests in attribute form."""
        self._model: Any = model

    def get_item(self, **request: Any) -> dict[str, Any]:
        return _plain(self._model.get_item(**_typed(request)))

    def put_item(self, **request: Any) -> dict[str, Any]:
        return _plain(self._model.put_item(**_typed(request)))

    def update_item(self, **request: Any) -> dict[str, Any]:
        return _plain(self._model.update_item(**_typed(request)))

    def delete_item(self, **request: Any) -> dict[str, Any]:
        return _plain(self._model.delete_item(**_typed(request)))

    def scan(self, **request: Any) -> dict[str, Any]:
        answer = self._model.scan(**request)
        return {**answer, "Items": [_plain_item(item) for item in answer["Items"]]}

    def batch_write_item(self, *, RequestItems: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:  # noqa: N803
        written = {
            name: [{kind: _typed(put) for kind, put in each.items()} for each in some]
            for name, some in RequestItems.items()
        }
        return dict(self._model.batch_write_item(RequestItems=written))

    def query(self, **request: Any) -> dict[str, Any]:
        answer = self._model.query(**_typed(request))
        return {**_plain(answer), "Items": [_plain_item(item) for item in answer["Items"]]}


def _typed(request: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {key: _to_wire(value) for key, value in part.items()} if name in _VALUES else part
        for name, part in request.items()
    }


def _plain_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _from_wire(value) for name, value in item.items()}


def _plain(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain_item(part) if name in _VALUES else part for name, part in answer.items()}
