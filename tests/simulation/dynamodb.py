"""DynamoDB: tables with a hash key, the operations that the ledger uses, and a stream for each table."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.attributes import (
    InvalidValue,
    Item,
    Value,
    from_wire,
    item_from_wire,
    item_to_wire,
    size_of,
    to_wire,
    weight,
)
from tests.simulation.conditions import parse_condition
from tests.simulation.expressions import InvalidExpression, Names, Tokens, Values
from tests.simulation.refusals import (
    ConditionalCheckFailedException,
    DynamoDBErrors,
    IdempotentParameterMismatchException,
    ResourceNotFoundException,
    TransactionCanceledException,
    invalid,
    refusal,
)
from tests.simulation.stream import Stream
from tests.simulation.updates import parse_update

#: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
LARGEST_ITEM = 400 * 1024
MOST_KEYS = 100
MOST_ACTIONS = 100
TOKEN_SECONDS = 600.0


@dataclass
class Table:
    """The items of one table, and what writing them cost."""

    key: str
    items: dict[Value, Item] = field(default_factory=dict)
    stream: Stream = field(default_factory=Stream)
    _sizes: dict[Value, int] = field(default_factory=dict)

    def size(self, key: Value) -> int:
        return self._sizes.get(key, 0)

    def put(self, key: Value, item: Item | None, size: int, at: float) -> None:
        """Put, or delete, and tell the stream if that is a change."""
        old = self.items.get(key)
        if item is None:
            self.items.pop(key, None)
            self._sizes.pop(key, None)
        else:
            self.items[key] = item
            self._sizes[key] = size
        if old != item:
            self.stream.append(at, {self.key: key}, old, item)


class ConditionFailed(Exception):
    """A condition did not hold."""

    def __init__(self, old: Item | None) -> None:
        super().__init__("The conditional request failed")
        self.old = old


@dataclass(frozen=True, slots=True)
class Write:
    """A write that was checked and may be done."""

    table: Table
    key: Value
    old: Item | None
    #: None deletes; the old one changes nothing, as in a ConditionCheck.
    new: Item | None
    size: int
    #: The attributes that the update names.
    named: tuple[str, ...] = ()

    def units(self) -> int:
        """Write request units: by the larger of the item before and after."""
        return -(-max(self.size, self.table.size(self.key), 1) // 1024)


class DynamoDB:
    """The service. Reads are strongly consistent, and one request is over before the next."""

    exceptions = DynamoDBErrors

    def __init__(self, now: Callable[[], float], tables: Mapping[str, str] | None = None) -> None:
        self._now = now
        self.tables = {name: Table(key) for name, key in (tables or {}).items()}
        #: Write and read request units used, by table.
        self.write_units: Counter[str] = Counter()
        self.read_units: Counter[str] = Counter()
        self._tokens: dict[str, tuple[float, str]] = {}

    def stream(self, table: str) -> Stream:
        return self.tables[table].stream

    # --- operations ---

    def create_table(self, *, TableName: str, KeySchema: Sequence[Mapping[str, str]], **_: Any) -> dict[str, Any]:  # noqa: N803
        (key,) = (part["AttributeName"] for part in KeySchema)
        self.tables[TableName] = Table(key)
        return {"TableDescription": {"TableName": TableName, "TableStatus": "ACTIVE"}}

    def update_item(
        self,
        *,
        ReturnValues: str = "NONE",  # noqa: N803
        **request: Any,
    ) -> dict[str, Any]:
        write = self._single("UpdateItem", request, self._update)
        match ReturnValues:
            case "ALL_NEW":
                return {"Attributes": item_to_wire(write.new or {})}
            case "ALL_OLD":
                return {"Attributes": item_to_wire(write.old)} if write.old is not None else {}
            case "UPDATED_NEW":
                new = write.new or {}
                found = {name: to_wire(new[name]) for name in write.named if name in new}
                return {"Attributes": found} if found else {}
            case "NONE":
                return {}
        raise NotImplementedError(f"ReturnValues {ReturnValues} is not modelled")

    def put_item(self, *, ReturnValues: str = "NONE", **request: Any) -> dict[str, Any]:  # noqa: N803
        return self._old(self._single("PutItem", request, self._put), ReturnValues)

    def delete_item(self, *, ReturnValues: str = "NONE", **request: Any) -> dict[str, Any]:  # noqa: N803
        return self._old(self._single("DeleteItem", request, self._delete), ReturnValues)

    def get_item(
        self,
        *,
        TableName: str,  # noqa: N803
        Key: Mapping[str, Any],  # noqa: N803
        ConsistentRead: bool = False,  # noqa: N803
        ProjectionExpression: str | None = None,  # noqa: N803
        ExpressionAttributeNames: Mapping[str, str] | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        operation = "GetItem"
        table = self._table(operation, TableName)
        item = self._read(operation, TableName, table, Key, consistent=ConsistentRead)
        if item is None:
            return {}
        return {"Item": self._projected(operation, item, ProjectionExpression, ExpressionAttributeNames)}

    def batch_get_item(self, *, RequestItems: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803
        operation = "BatchGetItem"
        if not 0 < sum(len(wanted["Keys"]) for wanted in RequestItems.values()) <= MOST_KEYS:
            raise invalid(operation, f"Too many items requested for the {operation} call")
        responses: dict[str, list[dict[str, Any]]] = {}
        for name, wanted in RequestItems.items():
            table = self._table(operation, name)
            seen: set[Value] = set()
            responses[name] = []
            for key in wanted["Keys"]:
                hashed = self._key(operation, table, key)
                if hashed in seen:
                    raise invalid(operation, "Provided list of item keys contains duplicates")
                seen.add(hashed)
                item = self._read(operation, name, table, key, consistent=wanted.get("ConsistentRead", False))
                if item is not None:
                    names = wanted.get("ExpressionAttributeNames")
                    projected = self._projected(operation, item, wanted.get("ProjectionExpression"), names)
                    responses[name].append(projected)
        return {"Responses": responses, "UnprocessedKeys": {}}

    def scan(self, *, TableName: str) -> dict[str, Any]:  # noqa: N803
        """Everything at once: for looking into a table from outside."""
        items = [item_to_wire(item) for item in self._table("Scan", TableName).items.values()]
        return {"Items": items, "Count": len(items)}

    def transact_write_items(
        self,
        *,
        TransactItems: Sequence[Mapping[str, Mapping[str, Any]]],  # noqa: N803
        ClientRequestToken: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        operation = "TransactWriteItems"
        if self._seen(operation, ClientRequestToken, TransactItems):
            return {}
        if not 0 < len(TransactItems) <= MOST_ACTIONS:
            raise invalid(operation, f"A transaction has 1 to {MOST_ACTIONS} actions")
        prepare = {
            "Put": self._put,
            "Update": self._update,
            "Delete": self._delete,
            "ConditionCheck": self._check,
        }
        writes: list[Write] = []
        reasons: list[dict[str, Any]] = []
        for action in TransactItems:
            ((kind, request),) = action.items()
            try:
                writes.append(prepare[kind](operation, request))
                reasons.append({"Code": "None"})
            except ConditionFailed as failure:
                reasons.append(_reason(failure, request))
        if len({(id(write.table), write.key) for write in writes}) < len(writes):
            raise invalid(operation, "Transaction request cannot include multiple operations on one item")
        if any(reason["Code"] != "None" for reason in reasons):
            codes = ", ".join(reason["Code"] for reason in reasons)
            raise refusal(
                "TransactionCanceledException",
                operation,
                f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
                kind=TransactionCanceledException,
                CancellationReasons=reasons,
            )
        for write, action in zip(writes, TransactItems, strict=True):
            ((_, request),) = action.items()
            self._do(str(request["TableName"]), write, times=2)
        self._remember(ClientRequestToken, TransactItems)
        return {}

    # --- what they share ---

    def _single(
        self, operation: str, request: Mapping[str, Any], prepare: Callable[[str, Mapping[str, Any]], Write]
    ) -> Write:
        name = str(request["TableName"])
        try:
            write = prepare(operation, request)
        except ConditionFailed as failure:
            # A write that fails its condition is charged by the item that it found.
            self.write_units[name] += max(1, -(-size_of(failure.old or {}) // 1024))
            old = _old_item(failure, request)
            more: dict[str, Any] = {} if old is None else {"Item": old}
            raise refusal(
                "ConditionalCheckFailedException",
                operation,
                str(failure),
                kind=ConditionalCheckFailedException,
                **more,
            ) from failure
        self._do(name, write)
        return write

    def _do(self, table: str, write: Write, *, times: int = 1) -> None:
        self.write_units[table] += times * write.units()
        write.table.put(write.key, write.new, write.size, self._now())

    def _update(self, operation: str, request: Mapping[str, Any]) -> Write:
        table, key, old = self._found(operation, request, request["Key"])
        names, values = self._placeholders(operation, request, ("UpdateExpression", "ConditionExpression"))
        self._must_hold(operation, request, old, names, values)
        before: Item = old if old is not None else {table.key: key}
        text = request.get("UpdateExpression")
        try:
            changes = parse_update(text).changes(before, names, values) if text is not None else {}
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
        return Write(table, key, old, new, _checked(operation, size), tuple(changes))

    def _put(self, operation: str, request: Mapping[str, Any]) -> Write:
        try:
            item = item_from_wire(request["Item"])
        except InvalidValue as error:
            raise invalid(operation, str(error)) from error
        table = self._table(operation, request["TableName"])
        if table.key not in item:
            raise invalid(operation, f"One of the required keys was not given a value: {table.key}")
        table, key, old = self._found(operation, request, {table.key: request["Item"][table.key]})
        self._conditioned(operation, request, old)
        return Write(table, key, old, item, _checked(operation, size_of(item)))

    def _delete(self, operation: str, request: Mapping[str, Any]) -> Write:
        table, key, old = self._found(operation, request, request["Key"])
        self._conditioned(operation, request, old)
        return Write(table, key, old, None, 0)

    def _check(self, operation: str, request: Mapping[str, Any]) -> Write:
        table, key, old = self._found(operation, request, request["Key"])
        self._conditioned(operation, request, old)
        return Write(table, key, old, old, table.size(key))

    def _conditioned(self, operation: str, request: Mapping[str, Any], old: Item | None) -> None:
        names, values = self._placeholders(operation, request, ("ConditionExpression",))
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

    def _placeholders(
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

    def _table(self, operation: str, name: str) -> Table:
        try:
            return self.tables[name]
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
        table = self._table(operation, request["TableName"])
        hashed = self._key(operation, table, key)
        return table, hashed, table.items.get(hashed)

    def _key(self, operation: str, table: Table, key: Mapping[str, Any]) -> Value:
        if set(key) != {table.key}:
            raise invalid(operation, "The provided key element does not match the schema")
        value = from_wire(key[table.key])
        if value[0] != "S" or not value[1]:
            raise invalid(operation, "One or more parameter values are not valid: the key is no text, or empty")
        return value

    def _read(
        self, operation: str, name: str, table: Table, key: Mapping[str, Any], *, consistent: bool
    ) -> Item | None:
        hashed = self._key(operation, table, key)
        self.read_units[name] += -(-max(1, table.size(hashed)) // 4096) * (2 if consistent else 1)
        return table.items.get(hashed)

    def _projected(
        self, operation: str, item: Item, expression: str | None, names: Mapping[str, str] | None
    ) -> dict[str, Any]:
        if expression is None:
            return item_to_wire(item)
        try:
            tokens = Tokens(expression)
            paths = [tokens.path()]
            while tokens.accept(","):
                paths.append(tokens.path())
            tokens.end()
            wanted = [path.name(names or {}) for path in paths]
        except InvalidExpression as error:
            raise invalid(operation, f"Invalid ProjectionExpression: {error}") from error
        if unused := {*(names or {})} - tokens.placeholders:
            raise invalid(operation, f"Value provided in ExpressionAttributeNames unused: keys: {sorted(unused)}")
        return {name: to_wire(item[name]) for name in wanted if name in item}

    def _old(self, write: Write, returned: str) -> dict[str, Any]:
        if returned not in {"NONE", "ALL_OLD"}:
            raise invalid("PutItem", "Return values set to invalid value")
        return {"Attributes": item_to_wire(write.old)} if returned == "ALL_OLD" and write.old is not None else {}

    def _seen(self, operation: str, token: str | None, request: object) -> bool:
        """Whether a transaction with this token was done within the last ten minutes."""
        if token is None:
            return False
        now, text = self._now(), json.dumps(request, sort_keys=True, default=str)
        self._tokens = {name: known for name, known in self._tokens.items() if known[0] > now}
        known = self._tokens.get(token)
        if known is not None and known[1] != text:
            raise refusal("IdempotentParameterMismatchException", operation, kind=IdempotentParameterMismatchException)
        return known is not None

    def _remember(self, token: str | None, request: object) -> None:
        if token is not None:
            self._tokens[token] = self._now() + TOKEN_SECONDS, json.dumps(request, sort_keys=True, default=str)


def _checked(operation: str, size: int) -> int:
    if size > LARGEST_ITEM:
        raise invalid(operation, "Item size to update has exceeded the maximum allowed size")
    return size


def _old_item(failure: ConditionFailed, request: Mapping[str, Any]) -> dict[str, Any] | None:
    wanted = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    return item_to_wire(failure.old) if wanted and failure.old is not None else None


def _reason(failure: ConditionFailed, request: Mapping[str, Any]) -> dict[str, Any]:
    old = _old_item(failure, request)
    return {
        "Code": "ConditionalCheckFailed",
        "Message": str(failure),
        **({"Item": old} if old is not None else {}),
    }
