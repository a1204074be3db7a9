"""Figures of the shipped code: `python -m tools.structure`.

They are the lengths of files and functions, and the imports between wings of the engine.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).resolve().parents[1]
LAYER = Path("layers/rollcall/python")
#: Folders that ship in Lambda.
SHIPPED = (LAYER / "rollcall", Path("functions"))


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lines of files or functions."""

    count: int
    median: float
    #: Nine in ten are no longer.
    ninth_decile: float

    @classmethod
    def of(cls, lines: Sequence[int]) -> "Lengths":
        """Summarize at least two lengths."""
        return cls(len(lines), median(lines), quantiles(lines, n=10, method="inclusive")[-1])

    def words(self, what: str) -> str:
        """Describe them in one line."""
        return f"{self.count} {what}: median {self.median:g} lines, 90th percentile {self.ninth_decile:g}"


@dataclass(frozen=True, slots=True)
class Structure:
    """The shape of a checkout."""

    files: Lengths
    functions: Lengths
    #: Imports from one module of the engine to another, by the wings of both.
    arrows: Counter[tuple[str, str]]

    @property
    def within(self) -> int:
        """Arrows that stay within a wing."""
        return sum(count for (tail, head), count in self.arrows.items() if tail == head)

    @property
    def between(self) -> int:
        """Arrows from one wing to another."""
        return self.arrows.total() - self.within


def measured(root: Path = ROOT) -> Structure:
    """Read every shipped file, but for packages' own lines."""
    files = sorted(path for part in SHIPPED for path in (root / part).rglob("*.py") if path.name != "__init__.py")
    texts = {path: path.read_text() for path in files}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    return Structure(
        files=Lengths.of([text.count("\n") for text in texts.values()]),
        functions=Lengths.of([length for tree in trees.values() for length in _functions(tree)]),
        arrows=Counter(arrow for path, tree in trees.items() for arrow in _arrows(path.relative_to(root), tree, root)),
    )


def _functions(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def _arrows(file: Path, tree: ast.Module, root: Path) -> Iterator[tuple[str, str]]:
    tail = _wing(_module(file))
    if tail is None:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            modules = {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
            for module in modules:
                head = _wing(module)
                if head is not None and (root / LAYER / Path(*module.split("."))).with_suffix(".py").is_file():
                    yield tail, head


def _module(file: Path) -> str:
    return ".".join((file.relative_to(LAYER) if file.is_relative_to(LAYER) else file).with_suffix("").parts)


def _wing(module: str) -> str | None:
    """Return the engine's wing of a module; a loose module of the engine is a wing by itself."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["rollcall", "engine"] and len(parts) > 2 else None


def main() -> None:
    """Print the figures."""
    found = measured()
    print(found.files.words("files"))
    print(found.functions.words("functions"))
    print(f"imports within the engine: {found.within} within wings, {found.between} between them")
    for (tail, head), count in sorted(found.arrows.items()):
        print(f"  {tail} -> {head}: {count}")


if __name__ == "__main__":
    main()
