"""docs/architecture.md shows what is so: its modules exist, its arrows are imports, and no wing is left out."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYER = Path("layers/rollcall/python")
PAGE = (ROOT / "docs/architecture.md").read_text()
DIAGRAMS = re.findall(r"^```mermaid\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NODE = re.compile(r'(\w+)\["([\w/]+\.py)"\]')
ARROW = re.compile(r'^  (\w+)(?:\["[^]]*"\])?(?: -- "[^"]*")? --> (\w+)', re.MULTILINE)


def file_of(shown: str) -> Path:
    """The file that a node shows; those of the layer are shown from within it."""
    return Path(shown) if shown.startswith("functions/") else LAYER / "rollcall" / shown


def module_of(file: Path) -> str:
    return ".".join((file.relative_to(LAYER) if file.is_relative_to(LAYER) else file).with_suffix("").parts)


def imported_by(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def arrows() -> Iterator[tuple[str, str]]:
    """Every arrow, as the two files that it joins."""
    for diagram in DIAGRAMS:
        shown = dict(NODE.findall(diagram))
        yield from ((shown[tail], shown[head]) for tail, head in ARROW.findall(diagram))


@pytest.mark.parametrize("shown", sorted({file for diagram in DIAGRAMS for _, file in NODE.findall(diagram)}))
def test_a_module_exists(shown: str) -> None:
    assert (ROOT / file_of(shown)).is_file()


@pytest.mark.parametrize(("tail", "head"), sorted(set(arrows())))
def test_an_arrow_is_an_import(tail: str, head: str) -> None:
    assert module_of(file_of(head)) in set(imported_by(file_of(tail)))


def test_every_line_of_a_diagram_is_read() -> None:
    lines = [line for diagram in DIAGRAMS for line in diagram.splitlines() if line != "flowchart TD"]
    assert len(lines) == len(list(arrows()))


def test_each_function_has_a_diagram() -> None:
    entry_points = {path.parent.name for path in ROOT.glob("functions/*/handler.py")}
    shown = {Path(file).parent.name for tail, _ in arrows() for file in [tail] if file.endswith("/handler.py")}
    assert shown == entry_points


def test_each_wing_is_listed() -> None:
    wings = {
        f"{folder.name}/{wing.parent.name}/"
        for folder in (ROOT / LAYER / "rollcall/engine", ROOT / LAYER / "rollcall/adapters")
        for wing in folder.glob("*/__init__.py")
    }
    assert set(re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)) == wings
