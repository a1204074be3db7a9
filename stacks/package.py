"""What is in a function's zip: its entry point and the jobs that it needs, and nothing else."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rollcall.core.catalog import Declared
from rollcall.core.errors import RollcallError


class Packages:
    """Copies parts of `functions/` to folders that the CDK takes as assets.

    A folder is named after its contents, and the CDK makes an asset's hash of names and contents alone: the same
    sources give the same template.
    """

    def __init__(self, *, root: Path, staging: Path) -> None:
        self._root = root
        self._staging = staging

    def stage(self, kind: str, jobs: Iterable[Declared]) -> Path:
        """A folder with `functions/<kind>` and the files of `jobs`. Raises RollcallError without a handler."""
        if not (self._root / "functions" / kind / "handler.py").is_file():
            raise RollcallError(f"functions/{kind}/handler.py is missing; every {kind} function starts there")
        files = {file.relative_to(self._root): file.read_bytes() for file in sorted(set(self._files(kind, jobs)))}
        package = self._staging / f"{kind}-{_digest(files)}"
        for name, content in files.items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_bytes(content)
        return package

    def _files(self, kind: str, jobs: Iterable[Declared]) -> Iterator[Path]:
        functions = self._root / "functions"
        yield functions / "__init__.py"
        yield from _helpers(functions)
        yield from (functions / kind).rglob("*.py")
        yield functions / "jobs" / "__init__.py"
        for declared in jobs:
            system = functions / "jobs" / declared.system
            yield system / "__init__.py"
            yield from _helpers(system)
            yield self._root.joinpath(*declared.module.split(".")).with_suffix(".py")


def _helpers(folder: Path) -> Iterator[Path]:
    """Files, and packages of files, whose names begin with `_`: shared by what stands beside them."""
    yield from folder.glob("_*.py")
    for package in folder.glob("_*/"):
        yield from package.rglob("*.py")


def _digest(files: Mapping[Path, bytes]) -> str:
    whole = hashlib.sha256()
    for name, content in files.items():
        whole.update(f"{name.as_posix()} {len(content)}\n".encode() + content)
    return whole.hexdigest()[:16]
