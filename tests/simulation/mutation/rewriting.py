"""Modules that are rewritten when they are imported, and never on disk: to count their branches, or to break them."""

import ast
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

Rewrite: TypeAlias = Callable[[str, ast.Module], ast.Module]
ENGINE = Path(__file__).parents[3] / "layers/rollcall/python"


class _Loader(SourceLoader):
    def __init__(self, module: str, path: str, rewrite: Rewrite) -> None:
        self._module = module
        self._path = path
        self._rewrite = rewrite

    def get_filename(self, fullname: str) -> str:
        del fullname
        return self._path

    def get_data(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def path_stats(self, path: str) -> dict[str, int]:
        raise OSError(f"{path} has no bytecode of its own")

    def source_to_code(self, data: bytes, path: str, *, _optimize: int = -1) -> object:  # type: ignore[override]
        tree = ast.fix_missing_locations(self._rewrite(self._module, ast.parse(data)))
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)


class Rewriter(MetaPathFinder):
    """Finds the modules that are to be rewritten."""

    def __init__(self, modules: frozenset[str], rewrite: Rewrite) -> None:
        self._modules = modules
        self._rewrite = rewrite

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._modules:
            return None
        found = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if found is None or found.origin is None:
            return None
        return spec_from_loader(fullname, _Loader(fullname, found.origin, self._rewrite), origin=found.origin)


def install(modules: frozenset[str], rewrite: Rewrite) -> None:
    """Rewrite these modules when they are imported. Raises RuntimeError for one that is imported already."""
    if early := sorted(modules & sys.modules.keys()):
        raise RuntimeError(f"{early[0]} is imported already; install this first")
    sys.meta_path.insert(0, Rewriter(modules, rewrite))


def source_of(module: str) -> str:
    """The text of a module of the checkout."""
    relative = module.replace(".", "/") + ".py"
    root = ENGINE if module.startswith("rollcall.") else ENGINE.parents[2]
    return (root / relative).read_text()


def modules_of(*patterns: str) -> list[str]:
    """The engine's modules of these glob patterns, without packages themselves."""
    found = sorted(path for pattern in patterns for path in ENGINE.glob(f"rollcall/{pattern}.py"))
    names = [path.relative_to(ENGINE).with_suffix("").as_posix().replace("/", ".") for path in found]
    return [name for name in names if not name.endswith("__init__")]
