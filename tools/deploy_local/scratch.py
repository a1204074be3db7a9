"""A temporary folder for many files."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

#: MiniStack unpacks the layers for every function that is invoked: four thousand files each. On a file system that
#: tells its disk of each deletion, deleting them side by side takes a second, and one after the other half a minute.
SIDE_BY_SIDE = 16


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A folder that goes with everything in it."""
    with TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            yield folder
        finally:
            _clear(folder)


def _clear(folder: Path) -> None:
    paths = sorted(folder.rglob("*"), key=_depth, reverse=True)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for _, level in groupby(paths, _depth):
            list(pool.map(_remove, level))


def _depth(path: Path) -> int:
    return len(path.parts)


def _remove(path: Path) -> None:
    # Whoever was killed a moment ago may write until now; what it leaves goes with the folder.
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
