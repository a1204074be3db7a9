"""Logs of what runs as a process."""

import os
from pathlib import Path
from typing import BinaryIO

#: Only the owner reads and writes a file.
PRIVATE_FILE = 0o600


def private_file(path: Path, *, append: bool = False) -> BinaryIO:
    """Open a file for writing that only its owner reads, whatever the umask; one that is there is made private."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
    descriptor = os.open(path, flags, PRIVATE_FILE)
    os.fchmod(descriptor, PRIVATE_FILE)
    return os.fdopen(descriptor, "wb")


def last_line(log: Path) -> str:
    """What was said last, of a traceback the exception; empty where nothing was said, or the log is gone."""
    try:
        said = log.read_text(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line for line in reversed(said) if line and not line.startswith((" ", "Traceback "))), "")
