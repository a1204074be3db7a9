"""The tables of jobs: DynamoDB with Python values in place of typed attributes, as boto3's resource has it."""

from collections.abc import Mapping
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from tests.simulation.models.dynamodb import DynamoDB
from tests.simulation.models.refusals import DynamoDBErrors

_to_wire = TypeSerializer().serialize
_from_wire = TypeDeserializer().deserialize

#: Where requests and answers hold values by name.
_VALUES = ("Key", "Item", "Attributes", "ExpressionAttributeValues")


class PlainDynamoDB:
    """The operations that jobs may use. An error's item stays in attribute form, as the resource leaves it."""

    exceptions = DynamoDBErrors

    def __init__(self, model: DynamoDB) -> None:
        self._model = model

    def get_item(self, **request: Any) -> dict[str, Any]:
        return _plain(self._model.get_item(**_typed(request)))

    def put_item(self, **request: Any) -> dict[str, Any]:
        return _plain(self._model.put_item(**_typed(request)))

    def update_item(self, **request: Any) -> dict[str, Any]:
        return _plain(self._model.update_item(**_typed(request)))

    def query(self, **request: Any) -> dict[str, Any]:
        answer = self._model.query(**_typed(request))
        items = [{name: _from_wire(value) for name, value in item.items()} for item in answer["Items"]]
        return {**answer, "Items": items}


def _typed(request: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {key: _to_wire(value) for key, value in part.items()} if name in _VALUES else part
        for name, part in request.items()
    }


def _plain(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {key: _from_wire(value) for key, value in part.items()} if name in _VALUES else part
        for name, part in answer.items()
    }
