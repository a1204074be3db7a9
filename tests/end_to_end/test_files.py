"""What a command writes is for its owner alone, whatever the umask."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.clone import BILLS, Clone, Running
from tests.end_to_end.processes import until

pytestmark = pytest.mark.end_to_end

OF_OTHERS = 0o077


def open_to_others(folder: Path) -> Iterator[str]:
    """What in `folder` somebody else may list, read or write."""
    for path in folder.rglob("*"):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if mode & OF_OTHERS and not path.is_symlink():
            yield f"{path.relative_to(folder)} {mode & 0o777:o}"


def is_written(running: Running) -> bool:
    return any(running.temporary.glob("*/*.log"))


@pytest.mark.parametrize("umask", [0o000, 0o077], ids=oct)
def test_kept_data_and_temporary_files_are_private(own_clone: Clone, umask: int) -> None:
    own_clone.add_job(BILLS, "books")
    kept = own_clone.start("run", "bills", "--entries", "20", "--keep", "--json", umask=umask)
    assert kept.wait().code == 0
    folder = own_clone.root / ".rollcall"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in folder.iterdir()} >= {"lock", "ministack.log", "functions.log", "state", "bank.jsonl"}
    assert [*open_to_others(folder)] == []

    temporary = own_clone.start("run", "bills", "--entries", "200", "--json", umask=umask)
    assert until(lambda: is_written(temporary), 30)
    found = {*open_to_others(temporary.temporary)}
    assert temporary.wait().code == 0
    assert found == set()
