"""One UpdateItem, built part by part, with placeholders for every name and value."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from rollcall.adapters.ledger.items import attribute, values_of
from rollcall.core.errors import RollcallError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class ConditionFailed(RollcallError):
    """The item was not as the write expected it."""

    def __init__(self, old: Mapping[str, Any]) -> None:
        super().__init__("the item is not as the write expected it")
        #: The item as it stands (ALL_OLD); empty where there is none.
        self.old = old


class Update:
    """Collects the clauses of an update of one item; `send` writes it."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self._clauses: dict[str, list[str]] = {}
        self._conditions: list[str] = []

    def name(self, attribute_name: str) -> str:
        """The placeholder of an attribute's name."""
        return self._names.setdefault(attribute_name, f"#n{len(self._names)}")

    def value(self, value: object) -> str:
        """A placeholder for a value."""
        placeholder = f":v{len(self._values)}"
        self._values[placeholder] = attribute(value)
        return placeholder

    def set(self, **fields: object) -> "Update":
        """SET each field that is not None."""
        for name, value in fields.items():
            if value is not None:
                self._clause("SET", f"{self.name(name)} = {self.value(value)}")
        return self

    def set_once(self, **fields: object) -> "Update":
        """SET each field that is not there yet."""
        for name, value in fields.items():
            placeholder = self.name(name)
            self._clause("SET", f"{placeholder} = if_not_exists({placeholder}, {self.value(value)})")
        return self

    def remove(self, *names: str) -> "Update":
        for name in names:
            self._clause("REMOVE", self.name(name))
        return self

    def add(self, name: str, members: Iterable[int] | Iterable[str]) -> "Update":
        """Add members to a set; none adds nothing."""
        if found := frozenset(members):
            self._clause("ADD", f"{self.name(name)} {self.value(found)}")
        return self

    def increase(self, name: str, by: int) -> "Update":
        """Add to a number that is there."""
        placeholder = self.name(name)
        self._clause("SET", f"{placeholder} = {placeholder} + {self.value(by)}")
        return self

    def count_up(self, name: str, by: int) -> "Update":
        """Add to a number, from 0 where there is none. An SDK's retry may add twice: for estimates only."""
        self._clause("ADD", f"{self.name(name)} {self.value(by)}")
        return self

    def discard(self, name: str, members: Iterable[int] | Iterable[str]) -> "Update":
        """Take members out of a set; none takes nothing."""
        if found := frozenset(members):
            self._clause("DELETE", f"{self.name(name)} {self.value(found)}")
        return self

    def when(self, condition: str) -> "Update":
        """Add a condition, written with `name` and `value`; all must hold."""
        self._conditions.append(condition)
        return self

    def when_equal(self, **fields: object) -> "Update":
        for name, value in fields.items():
            self.when(f"{self.name(name)} = {self.value(value)}")
        return self

    def when_absent(self, name: str) -> "Update":
        return self.when(f"attribute_not_exists({self.name(name)})")

    def when_one_of(self, name: str, values: Iterable[object]) -> "Update":
        return self.when(f"{self.name(name)} IN ({', '.join(self.value(value) for value in values)})")

    def _clause(self, verb: str, text: str) -> None:
        self._clauses.setdefault(verb, []).append(text)

    def expressions(self) -> dict[str, Any]:
        """The keyword arguments that UpdateItem and a transaction's Update share."""
        update = " ".join(f"{verb} {', '.join(texts)}" for verb, texts in self._clauses.items())
        names = {placeholder: name for name, placeholder in self._names.items()}
        arguments: dict[str, Any] = {"UpdateExpression": update, "ExpressionAttributeNames": names}
        if self._values:
            arguments["ExpressionAttributeValues"] = self._values
        if self._conditions:
            arguments["ConditionExpression"] = " AND ".join(f"({condition})" for condition in self._conditions)
        return arguments

    def send(
        self, client: "DynamoDBClient", table: str, key: str, returned: Literal["ALL_NEW", "ALL_OLD"] = "ALL_NEW"
    ) -> dict[str, Any]:
        """Write it and return the item as it then is, or was. Raises ConditionFailed with the item as it stands."""
        try:
            answer = client.update_item(
                TableName=table,
                Key={"pk": {"S": key}},
                ReturnValues=returned,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **self.expressions(),
            )
        except client.exceptions.ConditionalCheckFailedException as error:
            raise ConditionFailed(values_of(error.response.get("Item", {}))) from error  # type: ignore[arg-type]
        return values_of(answer.get("Attributes", {}))
