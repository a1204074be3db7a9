"""docs/models.md lists the known differences of the emulators: all of them, and none that no story asserts."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.simulation.models import differences

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs/models.md"


def test_the_page_lists_the_known_differences() -> None:
    table = "\n".join(differences.listed())
    assert table in PAGE.read_text(), "it has to hold what `python -m tests.simulation.models.differences` prints"


def test_every_difference_is_asserted_by_a_story() -> None:
    asserted = {name for path in HERE.glob("test_*.py") for name in _asserted(path)}
    assert asserted == set(differences.registered())


def test_every_difference_is_one_of_an_emulator() -> None:
    assert all(difference.sides for difference in differences.registered().values())


def _asserted(path: Path) -> Iterator[str]:
    """The differences by which a file's stories expect something else of an emulator."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="expected" | "differs"),
                args=[ast.Attribute(value=ast.Name(id="differences"), attr=name), *_],
            ):
                yield name
