"""DynamoDB items: between the low-level attribute form and Python values.

`TypeDeserializer` of boto3 is not used: it makes a Decimal of every number, and our numbers are whole.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import UniversalAttributeValueTypeDef

    Attribute: TypeAlias = UniversalAttributeValueTypeDef
else:
    Attribute = dict

Item: TypeAlias = Mapping[str, Any]


def attribute(value: object) -> Attribute:
    """A value in the form that DynamoDB takes: text, whole numbers, booleans, sets of either, maps and lists."""
    match value:
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int():
            return {"N": str(value)}
        case set() | frozenset() if value and all(isinstance(member, int) for member in value):
            return {"NS": [str(member) for member in sorted(value)]}
        case set() | frozenset() if value:
            return {"SS": sorted(value)}
        case Mapping():
            return {"M": {name: attribute(member) for name, member in value.items()}}
        case list() | tuple():
            return {"L": [attribute(member) for member in value]}
        case None:
            return {"NULL": True}
    raise TypeError(f"{value!r} has no place in an item")


def value_of(attribute: Mapping[str, Any]) -> Any:
    """The Python value of one attribute."""
    ((kind, value),) = attribute.items()
    match kind:
        case "N":
            return int(value)
        case "NS":
            return frozenset(int(member) for member in value)
        case "SS":
            return frozenset(value)
        case "M":
            return values_of(value)
        case "L":
            return [value_of(member) for member in value]
        case "NULL":
            return None
    return value


def values_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """The Python values of a whole item."""
    return {name: value_of(attribute) for name, attribute in item.items()}
