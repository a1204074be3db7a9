"""The figures of the structure are those of the files."""

from collections import Counter
from pathlib import Path

from tools.structure import LAYER, Lengths, measured


def write(root: Path, file: str, text: str) -> None:
    path = root / LAYER / "rollcall" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_files_functions_and_arrows_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "core/tree.py", "def leaf():\n    return 1\n\n\nasync def root():\n    x = 1\n    return x\n")
    write(tmp_path, "engine/runs/progress.py", "from rollcall.core.tree import leaf\n")
    write(tmp_path, "engine/runs/failures.py", "from rollcall.engine.runs import progress\n")
    write(tmp_path, "engine/worker/worker.py", "from rollcall.engine.runs.progress import outcomes\n")
    write(tmp_path, "engine/worker/__init__.py", '"""Not counted."""\n')
    found = measured(tmp_path)
    assert found.files == Lengths(4, 1.0, 5.2)
    assert found.functions == Lengths(2, 2.5, 2.9)
    assert found.arrows == Counter({("runs", "runs"): 1, ("worker", "runs"): 1})
    assert (found.within, found.between) == (1, 1)


def test_the_engine_keeps_to_short_functions() -> None:
    found = measured()
    assert found.functions.median <= 8
    assert found.functions.ninth_decile < 32
