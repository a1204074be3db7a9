"""DynamoDB's update expressions: parsed from their text, applied to an item."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from tests.simulation.models.attributes import SETS, Item, Value, add
from tests.simulation.models.expressions import InvalidExpression, Names, Operand, Path, Tokens, Unfit, Values

#: The attribute's new value; None where it vanishes.
Result: TypeAlias = Callable[[Item, Names, Values], Value | None]


@dataclass(frozen=True, slots=True)
class UpdateExpression:
    """A parsed update expression."""

    actions: tuple[tuple[Path, Result], ...]
    placeholders: frozenset[str]

    def changes(self, item: Item, names: Names, values: Values) -> dict[str, Value | None]:
        """The attributes' new values, all worked out from the item as it was. Raises InvalidExpression and Unfit."""
        found: dict[str, Value | None] = {}
        for path, result in self.actions:
            name = path.name(names)
            if name in found:
                raise InvalidExpression(
                    f"Two document paths overlap with each other; must remove or rewrite one of these paths; "
                    f"path one: [{name}], path two: [{name}]"
                )
            found[name] = result(item, names, values)
        return found


@lru_cache(maxsize=10_000)
def parse_update(text: str) -> UpdateExpression:
    """Raises InvalidExpression."""
    tokens = Tokens(text)
    actions: list[tuple[Path, Result]] = []
    seen: set[str] = set()
    while tokens.peek():
        verb = tokens.take().upper()
        if verb not in _VERBS:
            raise InvalidExpression(f'Syntax error; token: "{verb}"')
        if verb in seen:
            raise InvalidExpression(f'The "{verb}" section can only be used once in an update expression')
        seen.add(verb)
        actions.append(_VERBS[verb](tokens))
        while tokens.accept(","):
            actions.append(_VERBS[verb](tokens))
    return UpdateExpression(tuple(actions), tokens.placeholders)


def _set(tokens: Tokens) -> tuple[Path, Result]:
    path = tokens.path()
    tokens.expect("=")
    result = _set_operand(tokens)
    if (sign := tokens.peek()) in {"+", "-"}:
        tokens.take()
        tokens.operator()
        return path, _sum(result, _set_operand(tokens), 1 if sign == "+" else -1)
    return path, _present(result)


def _set_operand(tokens: Tokens) -> Operand:
    if tokens.peek() == "list_append":
        raise NotImplementedError("list_append is not modelled")
    if tokens.peek() != "if_not_exists":
        return tokens.path_or_value()
    tokens.take()
    tokens.operator()
    tokens.expect("(")
    path = tokens.path()
    tokens.expect(",")
    other = _set_operand(tokens)
    tokens.expect(")")

    def value(item: Item, names: Names, values: Values) -> Value | None:
        found = path(item, names, values)
        return found if found is not None else other(item, names, values)

    return value


def _present(operand: Operand) -> Result:
    def result(item: Item, names: Names, values: Values) -> Value:
        value = operand(item, names, values)
        if value is None:
            raise Unfit("The provided expression refers to an attribute that does not exist in the item")
        return value

    return result


def _sum(left: Operand, right: Operand, sign: int) -> Result:
    def result(item: Item, names: Names, values: Values) -> Value:
        one, other = _present(left)(item, names, values), _present(right)(item, names, values)
        if one is None or other is None or (one[0], other[0]) != ("N", "N"):
            raise Unfit("An operand in the update expression has an incorrect data type")
        return "N", add(one[1], other[1], sign)

    return result


def _remove(tokens: Tokens) -> tuple[Path, Result]:
    return tokens.path(), lambda *_: None


def _add(tokens: Tokens) -> tuple[Path, Result]:
    path, operand = tokens.path(), tokens.placeholder()

    def result(item: Item, names: Names, values: Values) -> Value | None:
        kind, value = _operand_of("ADD", operand(item, names, values), SETS | {"N"})
        found = path(item, names, values)
        if found is None:
            return kind, value
        if found[0] != kind:
            raise Unfit("An operand in the update expression has an incorrect data type")
        return kind, add(found[1], value) if kind == "N" else found[1] | value

    return path, result


def _delete(tokens: Tokens) -> tuple[Path, Result]:
    path, operand = tokens.path(), tokens.placeholder()

    def result(item: Item, names: Names, values: Values) -> Value | None:
        kind, value = _operand_of("DELETE", operand(item, names, values), SETS)
        found = path(item, names, values)
        if found is None:
            return None
        if found[0] != kind:
            raise Unfit("An operand in the update expression has an incorrect data type")
        left = found[1] - value
        return (kind, left) if left else None

    return path, result


def _operand_of(verb: str, value: Value | None, kinds: frozenset[str]) -> Value:
    if value is None or value[0] not in kinds:
        shown = "NULL" if value is None else value[0]
        raise InvalidExpression(f"Incorrect operand type for operator or function; operator: {verb}, operand: {shown}")
    return value


_VERBS: dict[str, Callable[[Tokens], tuple[Path, Result]]] = {
    "SET": _set,
    "REMOVE": _remove,
    "ADD": _add,
    "DELETE": _delete,
}
