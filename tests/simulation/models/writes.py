"""What a request would do to an item: checked, its condition held, and not yet done."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.simulation.models.attributes import InvalidValue, Item, Value, from_wire, item_from_wire, size_of, weight
from tests.simulation.models.conditions import parse_condition
from tests.simulation.models.expressions import InvalidExpression, Names, Unfit, Values
from tests.simulation.models.refusals import ResourceNotFoundException, invalid, refusal
from tests.simulation.models.table import CannotBe, ConditionFailed, Table, Write
from tests.simulation.models.updates import parse_update

#: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
LARGEST_ITEM = 400 * 1024


class Writes:
    """Prepares writes. Each raises botocore's ClientError for a request that is refused, whatever there is, and
    ConditionFailed and CannotBe by the item that it finds.
    """

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables

    def update(self, operation: str, request: Mapping[str, Any]) -> Write:
        table, key, old = self._found(operation, request, request["Key"])
        names, values = self.placeholders(operation, request, ("UpdateExpression", "ConditionExpression"))
        self._must_hold(operation, request, old, names, values)
        before: Item = old if old is not None else {table.key: key}
        text = request.get("UpdateExpression")
        try:
            changes = parse_update(text).changes(before, names, values) if text is not None else {}
        except Unfit as error:
            raise CannotBe(str(error)) from error
        except InvalidExpression as error:
            raise invalid(operation, f"Invalid UpdateExpression: {error}") from error
        if table.key in changes:
            raise invalid(operation, f"Cannot update attribute {table.key}. This attribute is part of the key")
        new, size = dict(before), table.size(key) if old is not None else size_of(before)
        for name, value in changes.items():
            if name in new:
                size -= len(name) + weight(new.pop(name))
            if value is not None:
                new[name] = value
                size += len(name) + weight(value)
        return Write(table, key, old, new, _checked(size), tuple(changes))

    def put(self, operation: str, request: Mapping[str, Any]) -> Write:
        try:
            item = item_from_wire(request["Item"])
        except InvalidValue as error:
            raise invalid(operation, str(error)) from error
        table = self.table(operation, request["TableName"])
        if table.key not in item:
            raise invalid(operation, f"One of the required keys was not given a value: {table.key}")
        table, key, old = self._found(operation, request, {table.key: request["Item"][table.key]})
        self._conditioned(operation, request, old)
        return Write(table, key, old, item, _checked(size_of(item)))

    def delete(self, operation: str, request: Mapping[str, Any]) -> Write:
        table, key, old = self._found(operation, request, request["Key"])
        self._conditioned(operation, request, old)
        return Write(table, key, old, None, 0)

    def check(self, operation: str, request: Mapping[str, Any]) -> Write:
        table, key, old = self._found(operation, request, request["Key"])
        self._conditioned(operation, request, old)
        return Write(table, key, old, old, table.size(key))

    def target(self, operation: str, request: Mapping[str, Any]) -> tuple[str, Value]:
        """Table and key that a part of a transaction is about."""
        table = self.table(operation, request["TableName"])
        whole = request.get("Key", request.get("Item", {}))
        return request["TableName"], self.key(
            operation, table, {name: whole[name] for name in whole if name == table.key}
        )

    def _conditioned(self, operation: str, request: Mapping[str, Any], old: Item | None) -> None:
        names, values = self.placeholders(operation, request, ("ConditionExpression",))
        self._must_hold(operation, request, old, names, values)

    def _must_hold(
        self, operation: str, request: Mapping[str, Any], old: Item | None, names: Names, values: Values
    ) -> None:
        text = request.get("ConditionExpression")
        if text is None:
            return
        try:
            holds = parse_condition(text).holds(old or {}, names, values)
        except InvalidExpression as error:
            raise invalid(operation, f"Invalid ConditionExpression: {error}") from error
        if not holds:
            raise ConditionFailed(old)

    def placeholders(
        self, operation: str, request: Mapping[str, Any], expressions: Sequence[str]
    ) -> tuple[Names, Values]:
        """Names and values of a request, every one of which an expression must use."""
        names: Names = request.get("ExpressionAttributeNames", {})
        given: Mapping[str, Any] = request.get("ExpressionAttributeValues", {})
        used: set[str] = set()
        for kind in expressions:
            text = request.get(kind)
            if text is None:
                continue
            try:
                used |= (parse_update if kind == "UpdateExpression" else parse_condition)(text).placeholders
            except InvalidExpression as error:
                raise invalid(operation, f"Invalid {kind}: {error}") from error
        if unused := {*names, *given} - used:
            raise invalid(operation, f"Value provided in placeholders unused in expressions: keys: {sorted(unused)}")
        if undefined := used - {*names, *given}:
            raise invalid(operation, f"A placeholder used in an expression is not defined: {sorted(undefined)}")
        for what, placeholders in (("ExpressionAttributeNames", names), ("ExpressionAttributeValues", given)):
            if what in request and not placeholders:
                raise invalid(operation, f"{what} must not be empty")
        try:
            return names, {name: from_wire(value) for name, value in given.items()}
        except InvalidValue as error:
            raise invalid(operation, f"ExpressionAttributeValues contains invalid value: {error}") from error

    def table(self, operation: str, name: str) -> Table:
        try:
            return self._tables[name]
        except KeyError:
            raise refusal(
                "ResourceNotFoundException",
                operation,
                f"Requested resource not found: {name}",
                kind=ResourceNotFoundException,
            ) from None

    def _found(
        self, operation: str, request: Mapping[str, Any], key: Mapping[str, Any]
    ) -> tuple[Table, Value, Item | None]:
        table = self.table(operation, request["TableName"])
        hashed = self.key(operation, table, key)
        return table, hashed, table.items.get(hashed)

    def key(self, operation: str, table: Table, key: Mapping[str, Any]) -> Value:
        if set(key) != {table.key}:
            raise invalid(operation, "The provided key element does not match the schema")
        try:
            value = from_wire(key[table.key])
        except InvalidValue as error:
            raise invalid(operation, str(error)) from error
        if value[0] != "S" or not value[1]:
            raise invalid(operation, "One or more parameter values are not valid: the key is no text, or empty")
        return value


def _checked(size: int) -> int:
    if size > LARGEST_ITEM:
        raise CannotBe("Item size to update has exceeded the maximum allowed size")
    return size
