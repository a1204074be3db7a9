"""DynamoDB's values: attribute form at the edge, `(kind, Python value)` within, and what they weigh."""

from collections.abc import Iterable, Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Any, TypeAlias

#: A kind of DynamoDB's and a value that is never changed: whole numbers as int, sets as frozenset.
Value: TypeAlias = tuple[str, Any]
#: An item by attribute name. A change makes a new one, so that images in the stream stay as they were.
Item: TypeAlias = Mapping[str, Value]

SETS = frozenset({"SS", "NS", "BS"})
ORDERED = frozenset({"S", "N", "B"})
#: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
MOST_DIGITS = 38
GREATEST_EXPONENT, LEAST_EXPONENT = 125, -130
#: Python's own one rounds to 28 digits.
ARITHMETIC = Context(prec=MOST_DIGITS)


class InvalidValue(Exception):
    """No value that DynamoDB takes."""


def from_wire(attribute: Mapping[str, Any]) -> Value:
    """The value of `{"N": "5"}` and the like. Raises InvalidValue."""
    if len(attribute) != 1:
        raise InvalidValue("Supplied AttributeValue has more than one datatypes set, must contain exactly one")
    ((kind, value),) = attribute.items()
    match kind:
        case "S" | "B" | "BOOL":
            return kind, value
        case "N":
            return kind, number(value)
        case "NS" | "SS" | "BS":
            return kind, _members(kind, value)
        case "M":
            return kind, {name: from_wire(member) for name, member in value.items()}
        case "L":
            return kind, [from_wire(member) for member in value]
        case "NULL":
            return kind, True
    raise InvalidValue(f"Supplied AttributeValue is empty or of no known kind: {kind}")


def _members(kind: str, members: list[Any]) -> frozenset[Any]:
    if not members:
        raise InvalidValue(f"An {_SET_NAMES[kind]} set may not be empty")
    found = frozenset(map(number, members) if kind == "NS" else members)
    if len(found) != len(members):
        raise InvalidValue(f"Input collection {members} contains duplicates")
    return found


_SET_NAMES = {"SS": "string", "NS": "number", "BS": "binary"}


def number(text: str) -> int | Decimal:
    """A number's value; those without a fraction as int, which equals the Decimal. Raises InvalidValue."""
    if not isinstance(text, str):
        raise InvalidValue(f"a number travels as text, not as {type(text).__name__}")
    try:
        value = int(text)
    except ValueError:
        return _decimal(text)
    if len(text.lstrip("+-0")) > MOST_DIGITS:
        _decimal(text)
    return value


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise InvalidValue(f"The parameter cannot be converted to a numeric value: {text}") from error
    if not value.is_finite():
        raise InvalidValue(f"The parameter cannot be converted to a numeric value: {text}")
    if len("".join(map(str, value.as_tuple().digits)).strip("0")) > MOST_DIGITS:
        raise InvalidValue("Attempting to store more than 38 significant digits in a Number")
    if value and not LEAST_EXPONENT <= value.adjusted() <= GREATEST_EXPONENT:
        raise InvalidValue("Number overflow or underflow")
    return value


def add(one: int | Decimal, other: int | Decimal, sign: int = 1) -> int | Decimal:
    """The sum, to 38 digits; the difference, with -1."""
    if isinstance(one, int) and isinstance(other, int):
        return one + sign * other
    return ARITHMETIC.add(one, ARITHMETIC.multiply(sign, other))


def to_wire(value: Value) -> dict[str, Any]:
    """The attribute form."""
    kind, content = value
    match kind:
        case "N":
            return {kind: _digits(content)}
        case "NS":
            return {kind: list(map(_digits, content))}
        case "SS" | "BS":
            return {kind: sorted(content)}
        case "M":
            return {kind: {name: to_wire(member) for name, member in content.items()}}
        case "L":
            return {kind: [to_wire(member) for member in content]}
    return {kind: content}


def _digits(value: int | Decimal) -> str:
    return format(value.normalize(ARITHMETIC), "f") if isinstance(value, Decimal) else str(value)


def item_to_wire(item: Item) -> dict[str, Any]:
    return {name: to_wire(value) for name, value in item.items()}


def item_from_wire(item: Mapping[str, Any]) -> dict[str, Value]:
    return {name: from_wire(attribute) for name, attribute in item.items()}


def size_of(item: Item) -> int:
    """Bytes of an item, by the documented rules
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html).
    """
    return sum(_length(name) + weight(value) for name, value in item.items())


def weight(value: Value) -> int:
    """Bytes of one value."""
    kind, content = value
    match kind:
        case "S":
            return _length(content)
        case "B":
            return len(content)
        case "N":
            return _number_weight(content)
        case "NS":
            return sum(map(_number_weight, content))
        case "SS":
            return sum(map(_length, content))
        case "BS":
            return sum(map(len, content))
        case "M":
            return 3 + sum(1 + _length(name) + weight(member) for name, member in content.items())
        case "L":
            return 3 + _sum_of(content)
    return 1


def _sum_of(members: Iterable[Value]) -> int:
    return sum(1 + weight(member) for member in members)


def _number_weight(value: int | Decimal) -> int:
    """About a byte for two digits, and one."""
    if type(value) is int and 0 <= value < 10_000:
        return 2 if value < 100 else 3
    digits = len(str(value).strip("-0."))
    return (digits + 1) // 2 + (2 if value < 0 else 1)


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
