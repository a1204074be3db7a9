"""An index of the keys that a source has yielded, on disk to keep memory flat."""

import sqlite3
import tempfile
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Self

from rollcall.core.entry import ManifestEntry
from rollcall.core.values import digest

#: Memory for the pages of the index in KiB. The rest goes to the function's temporary space: about 60 bytes a key,
#: 60 MB for a million (Lambda offers 512 MB:
#: https://docs.aws.amazon.com/lambda/latest/dg/configuration-ephemeral-storage.html).
CACHE_KIBIBYTES = 1_024


class Seen(Enum):
    """The comparison of an entry with an earlier one that has the same key."""

    NEVER = auto()
    SAME = auto()
    DIFFERENT = auto()


class SeenKeys:
    """An index of keys and digests of their entries; a context manager that removes its files."""

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
        """Add `entry`, which has a key; return whether the key was added before."""
        key = bytes.fromhex(digest(entry.key))[:16]
        content = bytes.fromhex(digest([entry.payload, entry.idempotency_key, entry.rejected]))[:16]
        try:
            self._connection.execute("INSERT INTO seen VALUES (?, ?)", (key, content))
        except sqlite3.IntegrityError:
            ((known,),) = self._connection.execute("SELECT content FROM seen WHERE key = ?", (key,))
            return Seen.SAME if known == content else Seen.DIFFERENT
        return Seen.NEVER
