"""DynamoDB's conditions: parsed from their text, evaluated on an item."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from tests.simulation.models.attributes import ORDERED, Item, Value
from tests.simulation.models.expressions import InvalidExpression, Names, Operand, Placeholder, Tokens, Values

Test: TypeAlias = Callable[[Item, Names, Values], bool]

_ORDERINGS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FUNCTIONS = frozenset({"attribute_exists", "attribute_not_exists", "contains", "begins_with", "attribute_type"})
#: Operands of one IN.
MOST_ALTERNATIVES = 100


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition."""

    holds: Test
    placeholders: frozenset[str]


@lru_cache(maxsize=10_000)
def parse_condition(text: str) -> Condition:
    """Raises InvalidExpression."""
    tokens = Tokens(text)
    test = _either(tokens)
    tokens.end()
    tokens.check_parentheses()
    return Condition(test, tokens.placeholders)


def _either(tokens: Tokens) -> Test:
    tests = [_both(tokens)]
    while tokens.accept("OR"):
        tokens.operator()
        tests.append(_both(tokens))
    return tests[0] if len(tests) == 1 else lambda *about: any(test(*about) for test in tests)


def _both(tokens: Tokens) -> Test:
    tests = [_negated(tokens)]
    while tokens.accept("AND"):
        tokens.operator()
        tests.append(_negated(tokens))
    return tests[0] if len(tests) == 1 else lambda *about: all(test(*about) for test in tests)


def _negated(tokens: Tokens) -> Test:
    if not tokens.accept("NOT"):
        return _primary(tokens)
    tokens.operator()
    test = _negated(tokens)
    return lambda *about: not test(*about)


def _primary(tokens: Tokens) -> Test:
    if tokens.accept("("):
        test = _either(tokens)
        tokens.expect(")")
        return test
    if tokens.peek() in _FUNCTIONS:
        return _function(tokens)
    return _comparison(tokens)


def _function(tokens: Tokens) -> Test:
    name = tokens.take()
    tokens.operator()
    tokens.expect("(")
    path = tokens.path()
    if name in {"attribute_exists", "attribute_not_exists"}:
        tokens.expect(")")
        there = name == "attribute_exists"
        return lambda item, names, _: (path.name(names) in item) is there
    tokens.expect(",")
    other = _operand(tokens)
    tokens.expect(")")
    decide = _DECISIONS[name]

    def test(item: Item, names: Names, values: Values) -> bool:
        value, wanted = path(item, names, values), other(item, names, values)
        return value is not None and wanted is not None and decide(value, wanted)

    return test


def _contains(value: Value, wanted: Value) -> bool:
    kind, content = value
    if kind == "L":
        return wanted in content
    part_of = kind == wanted[0] and kind in {"S", "B"}
    return (part_of or kind == f"{wanted[0]}S") and wanted[1] in content


def _begins_with(value: Value, wanted: Value) -> bool:
    return value[0] == wanted[0] and value[0] in {"S", "B"} and value[1].startswith(wanted[1])


_DECISIONS: Mapping[str, Callable[[Value, Value], bool]] = {
    "contains": _contains,
    "begins_with": _begins_with,
    "attribute_type": lambda value, wanted: value[0] == wanted[1],
}


def _operand(tokens: Tokens) -> Operand:
    if tokens.peek() != "size":
        return tokens.path_or_value()
    tokens.take()
    tokens.operator()
    tokens.expect("(")
    path = tokens.path()
    tokens.expect(")")

    def size(item: Item, names: Names, values: Values) -> Value | None:
        value = path(item, names, values)
        if value is None or value[0] in {"N", "BOOL", "NULL"}:
            return None
        return "N", len(value[1].encode()) if value[0] == "S" else len(value[1])

    return size


def _comparison(tokens: Tokens) -> Test:
    left = _operand(tokens)
    sign = tokens.take().upper()
    tokens.operator()
    if sign == "IN":
        return _one_of(left, tokens)
    if sign == "BETWEEN":
        low = _operand(tokens)
        tokens.expect("AND")
        at_least, at_most = _ordering(left, operator.ge, low), _ordering(left, operator.le, _operand(tokens))
        return lambda *about: at_least(*about) and at_most(*about)
    right = _operand(tokens)
    if sign in _ORDERINGS:
        return _ordering(left, _ORDERINGS[sign], right)
    if sign not in {"=", "<>"}:
        raise InvalidExpression(f'Syntax error; token: "{sign}"')

    def equal(item: Item, names: Names, values: Values) -> bool:
        one, other = left(item, names, values), right(item, names, values)
        return one is not None and other is not None and one == other

    # An attribute that is not there differs from every value.
    return equal if sign == "=" else lambda *about: not equal(*about)


def _one_of(left: Operand, tokens: Tokens) -> Test:
    tokens.expect("(")
    alternatives = [_operand(tokens)]
    while tokens.accept(","):
        alternatives.append(_operand(tokens))
    tokens.expect(")")
    if len(alternatives) > MOST_ALTERNATIVES:
        raise InvalidExpression(f"The IN operator takes at most {MOST_ALTERNATIVES} operands")

    def test(*about: Any) -> bool:
        value = left(*about)
        return value is not None and any(value == alternative(*about) for alternative in alternatives)

    return test


def _ordering(left: Operand, compare: Callable[[Any, Any], bool], right: Operand) -> Test:
    operands = (left, right)

    def test(item: Item, names: Names, values: Values) -> bool:
        one, other = (operand(item, names, values) for operand in operands)
        for operand, value in zip(operands, (one, other), strict=True):
            if isinstance(operand, Placeholder) and value is not None and value[0] not in ORDERED:
                raise InvalidExpression(f"Incorrect operand type for operator; operand type: {value[0]}")
        return one is not None and other is not None and one[0] == other[0] and compare(one[1], other[1])

    return test
