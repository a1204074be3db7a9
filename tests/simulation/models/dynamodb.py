"""DynamoDB: tables with a hash key, the operations that the ledger uses, and a stream for each table."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.simulation.models.attributes import Item, Value, item_from_wire, item_to_wire, size_of, to_wire
from tests.simulation.models.conditions import parse_condition
from tests.simulation.models.expressions import InvalidExpression, Tokens
from tests.simulation.models.refusals import (
    ConditionalCheckFailedException,
    DynamoDBErrors,
    IdempotentParameterMismatchException,
    TransactionCanceledException,
    invalid,
    refusal,
)
from tests.simulation.models.stream import Stream
from tests.simulation.models.table import CannotBe, ConditionFailed, Table, Write
from tests.simulation.models.writes import Writes

#: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
MOST_KEYS = 100
MOST_ACTIONS = 100
MOST_WRITES = 25
TOKEN_SECONDS = 600.0


class DynamoDB:
    """The service. Reads are strongly consistent, and one request is over before the next."""

    exceptions = DynamoDBErrors

    def __init__(self, now: Callable[[], float], tables: Mapping[str, str] | None = None) -> None:
        self._now = now
        self.tables = {name: Table(key) for name, key in (tables or {}).items()}
        self._writes = Writes(self.tables)
        #: Write and read request units used, by table.
        self.write_units: Counter[str] = Counter()
        self.read_units: Counter[str] = Counter()
        self._tokens: dict[str, tuple[float, str]] = {}

    def stream(self, table: str) -> Stream:
        return self.tables[table].stream

    # --- operations ---

    def create_table(
        self,
        *,
        TableName: str,  # noqa: N803
        KeySchema: Sequence[Mapping[str, str]],  # noqa: N803
        GlobalSecondaryIndexes: Sequence[Mapping[str, Any]] = (),  # noqa: N803
        **_: Any,
    ) -> dict[str, Any]:
        (key,) = _attributes(KeySchema)
        indexes = {index["IndexName"]: _attributes(index["KeySchema"]) for index in GlobalSecondaryIndexes}
        self.tables[TableName] = Table(key, {name: (partition, sort) for name, (partition, sort) in indexes.items()})
        # Every table has a stream, known by the table's name.
        description = {"TableName": TableName, "TableStatus": "ACTIVE", "LatestStreamArn": TableName}
        return {"TableDescription": description}

    def list_tables(self) -> dict[str, Any]:
        return {"TableNames": sorted(self.tables)}

    def delete_table(self, *, TableName: str) -> dict[str, Any]:  # noqa: N803
        del self.tables[TableName]
        return {}

    def update_item(
        self,
        *,
        ReturnValues: str = "NONE",  # noqa: N803
        **request: Any,
    ) -> dict[str, Any]:
        if ReturnValues not in {"NONE", "ALL_NEW", "ALL_OLD", "UPDATED_NEW", "UPDATED_OLD"}:
            raise invalid("UpdateItem", "Return values set to invalid value")
        write = self._single("UpdateItem", request, self._writes.update)
        match ReturnValues:
            case "ALL_NEW":
                return {"Attributes": item_to_wire(write.new or {})}
            case "ALL_OLD":
                return {"Attributes": item_to_wire(write.old)} if write.old is not None else {}
            case "UPDATED_NEW" | "UPDATED_OLD":
                item = (write.new if ReturnValues == "UPDATED_NEW" else write.old) or {}
                found = {name: to_wire(item[name]) for name in write.named if name in item}
                return {"Attributes": found} if found else {}
        return {}

    def put_item(self, *, ReturnValues: str = "NONE", **request: Any) -> dict[str, Any]:  # noqa: N803
        return self._old("PutItem", request, self._writes.put, ReturnValues)

    def delete_item(self, *, ReturnValues: str = "NONE", **request: Any) -> dict[str, Any]:  # noqa: N803
        return self._old("DeleteItem", request, self._writes.delete, ReturnValues)

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
        table = self._writes.table(operation, TableName)
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
            table = self._writes.table(operation, name)
            seen: set[Value] = set()
            responses[name] = []
            for key in wanted["Keys"]:
                hashed = self._writes.key(operation, table, key)
                if hashed in seen:
                    raise invalid(operation, "Provided list of item keys contains duplicates")
                seen.add(hashed)
                item = self._read(operation, name, table, key, consistent=wanted.get("ConsistentRead", False))
                if item is not None:
                    names = wanted.get("ExpressionAttributeNames")
                    projected = self._projected(operation, item, wanted.get("ProjectionExpression"), names)
                    responses[name].append(projected)
        return {"Responses": responses, "UnprocessedKeys": {}}

    def query(
        self,
        *,
        TableName: str,  # noqa: N803
        IndexName: str,  # noqa: N803
        KeyConditionExpression: str,  # noqa: N803
        Limit: int | None = None,  # noqa: N803
        ExclusiveStartKey: Mapping[str, Any] | None = None,  # noqa: N803
        **placeholders: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Of an index, in its order, in one page without `Limit`; it is up to date, as AWS's needs not be."""
        operation = "Query"
        table = self._writes.table(operation, TableName)
        partition, sort = table.indexes[IndexName]
        request = {"ConditionExpression": KeyConditionExpression, **placeholders}
        names, values = self._writes.placeholders(operation, request, ("ConditionExpression",))
        holds = parse_condition(KeyConditionExpression).holds
        listed = [item for item in table.items.values() if partition in item and sort in item]

        def place(item: Mapping[str, Value]) -> tuple[str, str]:
            return str(item[sort][1]), str(item[table.key][1])

        found = sorted((item for item in listed if holds(item, names, values)), key=place)
        if ExclusiveStartKey is not None:
            last = place(item_from_wire(ExclusiveStartKey))
            found = [item for item in found if place(item) > last]
        page = found[:Limit]
        answer: dict[str, Any] = {"Items": [item_to_wire(item) for item in page], "Count": len(page)}
        if len(page) < len(found):
            answer["LastEvaluatedKey"] = {name: to_wire(page[-1][name]) for name in (table.key, partition, sort)}
        return answer

    def scan(self, *, TableName: str, Limit: int | None = None) -> dict[str, Any]:  # noqa: N803
        """Everything at once, or the first items: for looking into a table from outside."""
        found = list(self._writes.table("Scan", TableName).items.values())[:Limit]
        return {"Items": [item_to_wire(item) for item in found], "Count": len(found)}

    def batch_write_item(self, *, RequestItems: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:  # noqa: N803
        """Puts alone, all of them done."""
        operation = "BatchWriteItem"
        puts = [(name, each["PutRequest"]) for name, some in RequestItems.items() for each in some]
        if not 0 < len(puts) <= MOST_WRITES:
            raise invalid(operation, f"Too many items requested for the {operation} call")
        for name, put in puts:
            self._single(operation, {"TableName": name, **put}, self._writes.put)
        return {"UnprocessedItems": {}}

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
            "Put": self._writes.put,
            "Update": self._writes.update,
            "Delete": self._writes.delete,
            "ConditionCheck": self._writes.check,
        }
        targets = [self._writes.target(operation, request) for part in TransactItems for request in part.values()]
        if len({*targets}) < len(targets):
            raise invalid(operation, "Transaction request cannot include multiple operations on one item")
        writes: list[Write] = []
        reasons: list[dict[str, Any]] = []
        for action in TransactItems:
            ((kind, request),) = action.items()
            try:
                writes.append(prepare[kind](operation, request))
                reasons.append({"Code": "None"})
            except ConditionFailed as failure:
                reasons.append(_reason(failure, request))
            except CannotBe as failure:
                reasons.append({"Code": "ValidationError", "Message": str(failure)})
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
        except CannotBe as failure:
            raise invalid(operation, str(failure)) from failure
        self._do(name, write)
        return write

    def _do(self, table: str, write: Write, *, times: int = 1) -> None:
        self.write_units[table] += times * write.units()
        write.table.put(write.key, write.new, write.size, self._now())

    def _read(
        self, operation: str, name: str, table: Table, key: Mapping[str, Any], *, consistent: bool
    ) -> Item | None:
        hashed = self._writes.key(operation, table, key)
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

    def _old(
        self,
        operation: str,
        request: Mapping[str, Any],
        prepare: Callable[[str, Mapping[str, Any]], Write],
        returned: str,
    ) -> dict[str, Any]:
        if returned not in {"NONE", "ALL_OLD"}:
            raise invalid(operation, "Return values set to invalid value")
        write = self._single(operation, request, prepare)
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


def _attributes(schema: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    return tuple(part["AttributeName"] for part in schema)


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
