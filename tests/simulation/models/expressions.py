"""What DynamoDB's expressions share: tokens, paths, operands, and the limits on their texts.

An expression is parsed once for all requests with the same text; names and values come with each request.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tests.simulation.models.attributes import Item, Value
from tests.simulation.models.reserved_words import RESERVED

Names: TypeAlias = Mapping[str, str]
Values: TypeAlias = Mapping[str, Value]
#: The value of an operand; None where the item has no such attribute.
Operand: TypeAlias = Callable[[Item, Names, Values], Value | None]

#: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
MOST_OPERATORS = 300
LONGEST_EXPRESSION = 4096

_TOKEN = re.compile(r"\s*(?:(#\w+|:\w+|[A-Za-z_]\w*)|(<>|<=|>=|[=<>(),+\-.\[\]]))")


class InvalidExpression(Exception):
    """DynamoDB would refuse it."""


class Unfit(InvalidExpression):
    """An update that this item, as it is, cannot take."""


@dataclass(frozen=True, slots=True)
class Path:
    """A top-level attribute, by its name or by the placeholder of it."""

    text: str

    def name(self, names: Names) -> str:
        if not self.text.startswith("#"):
            return self.text
        try:
            return names[self.text]
        except KeyError:
            raise InvalidExpression(
                f"An expression attribute name used in the document path is not defined; attribute name: {self.text}"
            ) from None

    def __call__(self, item: Item, names: Names, values: Values) -> Value | None:
        del values
        return item.get(self.name(names))


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A value that comes with the request."""

    text: str

    def __call__(self, item: Item, names: Names, values: Values) -> Value | None:
        del item, names
        try:
            return values[self.text]
        except KeyError:
            raise InvalidExpression(
                f"An expression attribute value used in expression is not defined; attribute value: {self.text}"
            ) from None


class Tokens:
    """The tokens of an expression, one after another."""

    def __init__(self, text: str) -> None:
        if not text.strip():
            raise InvalidExpression("The expression can not be empty")
        if len(text.encode()) > LONGEST_EXPRESSION:
            raise InvalidExpression("Expression size has exceeded the maximum allowed size")
        self._found = list(_split(text))
        self._next = 0
        self.operators = 0

    @property
    def placeholders(self) -> frozenset[str]:
        """The placeholders of names and values that occur."""
        return frozenset(token for token in self._found if token[0] in "#:")

    def peek(self) -> str:
        """The next token; empty at the end."""
        return self._found[self._next] if self._next < len(self._found) else ""

    def word(self) -> str:
        """The next token in capitals, to be compared with keywords."""
        return self.peek().upper()

    def take(self) -> str:
        token = self.peek()
        if not token:
            raise InvalidExpression("Syntax error; unexpected end")
        self._next += 1
        return token

    def expect(self, token: str) -> None:
        if (found := self.take()).upper() != token:
            raise InvalidExpression(f'Syntax error; token: "{found}", expected "{token}"')

    def accept(self, token: str) -> bool:
        """Take the next token if it is this one."""
        if self.word() != token:
            return False
        self._next += 1
        return True

    def operator(self) -> None:
        """Count an operator or function."""
        self.operators += 1
        if self.operators > MOST_OPERATORS:
            raise InvalidExpression(f"The expression contains too many operators; max operator count: {MOST_OPERATORS}")

    def end(self) -> None:
        if self.peek():
            raise InvalidExpression(f'Syntax error; token: "{self.peek()}"')

    def check_parentheses(self) -> None:
        """A pair that holds nothing but another pair is refused."""
        opened: list[int] = []
        closed: dict[int, int] = {}
        for number, token in enumerate(self._found):
            if token == "(":
                opened.append(number)
            elif token == ")":
                closed[opened.pop()] = number
        if any(closed.get(first + 1) == last - 1 for first, last in closed.items()):
            raise InvalidExpression("The expression has redundant parentheses")

    def path(self) -> Path:
        token = self.take()
        if not (token[0] in "#_" or token[0].isalpha()):
            raise InvalidExpression(f'Syntax error; token: "{token}" is no attribute')
        if token.upper() in RESERVED:
            raise InvalidExpression(f"Attribute name is a reserved keyword; reserved keyword: {token}")
        if self.peek() in {".", "["}:
            raise NotImplementedError("nested paths are not modelled")
        return Path(token)

    def placeholder(self) -> Placeholder:
        token = self.take()
        if token[0] != ":":
            raise InvalidExpression(f'Syntax error; token: "{token}" is no value')
        return Placeholder(token)

    def path_or_value(self) -> Path | Placeholder:
        return self.placeholder() if self.peek().startswith(":") else self.path()


def _split(text: str) -> list[str]:
    found, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise InvalidExpression(f'Syntax error; token: "{text[position:].strip()[:20]}"')
        found.append(match[1] or match[2])
        position = match.end()
    return found
