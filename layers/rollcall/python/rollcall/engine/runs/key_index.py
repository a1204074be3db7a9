"""Which keys a source has yielded, on disk, so that memory stays flat in their number."""

import sqlite3
import tempfile
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Self

from rollcall.core.entry import ManifestEntry
from rollcall.core.values import digest

#: The index writes to the function's temporary space: about 60 bytes a key, 60 MB for a million (Lambda gives
#: 512 MB: https://docs.aws.amazon.com/lambda/latest/dg/configuration-ephemeral-storage.html).
CACHE_KIBIBYTES = 1_024


class Seen(Enum):
    """What an earlier entry with the same key was."""

    NEVER = auto()
    SAME = auto()
    DIFFERENT = auto()


class SeenKeys:
    """An index of keys and what came with them; a context manager that leaves nothing behind."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rollcall-seen-")
        self._connection = sqlite3.connect(Path(self._folder.name) / "keys.sqlite", isolation_level=None)
        for pragma in (
            f"cache_size=-{CACHE_KIBIBYTES}",
            "journal_mode=OFF",
            "synchronous=OFF",
            "locking_mode=EXCLUSIVE",
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE seen (key BLOB PRIMARY KEY, content BLOB) WITHOUT ROWID")
        self._connection.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()
        self._folder.cleanup()

    def add(self, entry: ManifestEntry) -> Seen:
        """Note `entry`, which has a key, and tell whether that key came before, with the same content or not."""
        key = bytes.fromhex(digest(entry.key))[:16]
        content = bytes.fromhex(digest([entry.payload, entry.idempotency_key, entry.rejected]))[:16]
        try:
            self._connection.execute("INSERT INTO seen VALUES (?, ?)", (key, content))
        except sqlite3.IntegrityError:
            ((known,),) = self._connection.execute("SELECT content FROM seen WHERE key = ?", (key,))
            return Seen.SAME if known == content else Seen.DIFFERENT
        return Seen.NEVER
