"""Logs of what runs as a process."""

from pathlib import Path


def last_line(log: Path) -> str:
    """What was said last, of a traceback the exception; empty where nothing was said, or the log is gone."""
    try:
        said = log.read_text(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line for line in reversed(said) if line and not line.startswith((" ", "Traceback "))), "")
