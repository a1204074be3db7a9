"""Imports a module in a process of its own, and tells what that loaded and which files read the environment.

`python import_recorder.py <module> <folder to import from>…` prints one JSON object.
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator, MutableMapping


class Recorder(MutableMapping[str, str]):
    """An empty environment that notes whose code looks into it."""

    def __init__(self) -> None:
        self.readers: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self._note()
        raise KeyError(name)

    def __setitem__(self, name: str, text: str) -> None:
        self._note()

    def __delitem__(self, name: str) -> None:
        self._note()

    def __iter__(self) -> Iterator[str]:
        self._note()
        return iter(())

    def __len__(self) -> int:
        self._note()
        return 0

    def _note(self) -> None:
        """Climb to the file that asked, through the standard library but not through an import of it."""
        frame = sys._getframe(1)
        while frame.f_back is not None and (file := frame.f_code.co_filename):
            if file.startswith("<frozen importlib"):
                return
            if file != __file__ and not of_the_library(file):
                self.readers.add(file)
                return
            frame = frame.f_back


LIBRARY = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - pathlib would be loaded by us then, not by the job


def of_the_library(file: str) -> bool:
    return file.startswith(("<frozen ", LIBRARY)) and "site-packages" not in file


if __name__ == "__main__":
    module, *sys.path[:0] = sys.argv[1:]
    recorder = Recorder()
    os.environ = recorder  # type: ignore[assignment] # noqa: B003 - exactly its readers are sought
    importlib.import_module(module)
    print(json.dumps({"loaded": sorted(sys.modules), "readers": sorted(recorder.readers)}))
