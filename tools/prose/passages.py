"""Docstrings, comments and error texts of Python files."""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The folders whose prose is checked; tests are read less often than what they test.
FOLDERS = ("layers/rollcall/python", "functions", "stacks", "tools")
#: Comments that are addressed to programs.
_DIRECTIVES = ("!", "noqa", "type:", "fmt:", "ruff:", "pragma:", "mypy:", "---")


class Kind(StrEnum):
    DOCSTRING = "docstring"
    COMMENT = "comment"
    CONSTANT = "constant comment"
    ERROR = "error text"


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of prose, with its place."""

    #: Relative to the root that was searched.
    path: Path
    line: int
    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} [{self.kind}]\n    " + self.text.replace("\n", "\n    ")


def sources(root: Path = ROOT, under: Path | None = None) -> list[Path]:
    """List the Python files of the checked folders in a stable order.

    With `under`, only those below that path of `root`.
    """
    found = {path for folder in FOLDERS for path in (root / folder).rglob("*.py")}
    return sorted(path for path in found if under is None or path.is_relative_to(root / under))


def passages(path: Path, root: Path = ROOT) -> list[Passage]:
    """Return the passages of one file, in the order of their lines."""
    source = path.read_text(encoding="utf-8")
    place = path.relative_to(root)
    found = [Passage(place, *each) for each in (*_of_tree(ast.parse(source)), *_comments(source))]
    return sorted(found, key=lambda passage: passage.line)


def _of_tree(tree: ast.Module) -> Iterator[tuple[int, Kind, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                text = ast.get_docstring(node)
                if text is not None:
                    yield node.body[0].lineno, Kind.DOCSTRING, text
            case ast.Raise(exc=ast.Call(args=[ast.Constant(str() as text), *_])):
                yield node.lineno, Kind.ERROR, text
            case ast.Raise(exc=ast.Call(args=[ast.JoinedStr(values=values), *_])):
                yield node.lineno, Kind.ERROR, "".join(_part(value) for value in values)


def _part(value: ast.expr) -> str:
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else "{}"


def _comments(source: str) -> Iterator[tuple[int, Kind, str]]:
    """Yield each comment; lines that stand alone and follow one another are one comment."""
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        number, text = token.start[0], token.string
        alone = token.line.lstrip().startswith("#")
        if block and not (alone and number == last + 1):
            yield from _joined(first, block)
            block = []
        if not block:
            first = number
        block.append(text)
        last = number if alone else -1
    yield from _joined(first, block)


def _joined(first: int, block: list[str]) -> Iterator[tuple[int, Kind, str]]:
    if not block:
        return
    kind = Kind.CONSTANT if block[0].startswith("#:") else Kind.COMMENT
    text = "\n".join(line.lstrip("#:").strip() for line in block)
    if text and not text.startswith(_DIRECTIVES):
        yield first, kind, text
