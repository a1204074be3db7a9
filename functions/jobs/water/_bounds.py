"""Bounds on the national list, and a reader of its zip within them.

The zip is not trusted: it is unpacked in bounded space and memory.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

from rollcall import Rejected, TryAgain

_MIB = 1024**2
#: Bytes that are unpacked at once.
_PIECE = 64 * 1024
#: Bytes that may be unpacked from any number of bytes: little tables of like rows pack very well.
_UNPACKED_FREELY = 4 * _MIB
#: LZMA needs as much memory as the zip demands; the list is never packed by any other method.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds on the list.

    A step has two files at once. Together they fit into the 512 MB of temporary space of a function.
    """

    #: Bytes of the zip; the table of 69,000 licences has less than 10 MB unpacked, and there are 125 tables.
    packed: int = 100 * _MIB
    #: Bytes of the zip's directory, which takes twenty times as much memory: some 20,000 members.
    directory: int = 1 * _MIB
    #: Bytes of the table, and of the queue that is made of it.
    unpacked: int = 200 * _MIB
    #: Bytes unpacked for each packed one, once more than 4 MiB are unpacked; such tables pack to a tenth.
    ratio: int = 100
    #: Characters of a row of the table.
    row: int = 128 * 1024
    #: Rows of the table: their numbers are held in memory to be compared, 200 bytes each.
    rows: int = 500_000


BOUNDS = Bounds()


def exceeded(what: str, name: str, bound: int) -> Rejected:
    """Return the error for a list that has more of something than its bounds allow."""
    return Rejected(
        f"{what}: more than {bound:,} (Bounds.{name} in functions/jobs/water/_bounds.py); see whether it is the list, "
        f"and raise the bound if it is"
    )


def counted(file: BinaryIO, what: str, name: str, bound: int) -> BinaryIO:
    """Return a file that takes `bound` bytes. Raises Rejected if more are written."""
    return cast(BinaryIO, _Counted(file, exceeded(f"bytes of {what}", name, bound), bound))


def unpack_member(packed: BinaryIO, name: str, file: BinaryIO, bounds: Bounds) -> None:
    """Write the member `name` of a zip into `file`.

    No other member is opened, and no path is created. Raises Rejected if the member exceeds the bounds, KeyError if
    there is none, BadZipFile or zlib.error if it is damaged, and TryAgain if there is no room for it.
    """
    size = packed.seek(0, 2)
    with zipfile.ZipFile(cast(IO[bytes], _Directory(packed, size, bounds))) as archive:
        member = archive.getinfo(name)
        if member.compress_type not in _METHODS or member.flag_bits & _ENCRYPTED:
            raise Rejected(f"{name} is encrypted or packed by another method than deflate")
        if member.file_size > bounds.unpacked:
            raise exceeded(f"bytes of {name}", "unpacked", bounds.unpacked)
        if member.file_size > shutil.disk_usage(tempfile.gettempdir()).free:
            raise TryAgain(f"there is no room for the {member.file_size:,} bytes of {name} in the temporary space")
        most_by_ratio = max(_UNPACKED_FREELY, bounds.ratio * min(size, member.compress_size))
        by_ratio = counted(file, f"{name} from {member.compress_size:,} packed ones", "ratio", most_by_ratio)
        with archive.open(member) as source:
            while piece := source.read(_PIECE):  # raises BadZipFile at its end, where the checksum is wrong
                by_ratio.write(piece)


class RowLines:
    """The lines of a table, for `csv`.

    The lines between two calls of `taken` belong to one row and are bounded together.
    """

    def __init__(self, text: IO[str], what: str, bounds: Bounds) -> None:
        self._text = text
        self._error = exceeded(f"characters in a row of {what}", "row", bounds.row)
        self._most = self._left = bounds.row

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            raise self._error
        if not line:
            raise StopIteration
        return line

    def taken(self) -> None:
        """Begin the next row."""
        self._left = self._most


class _Counted:
    """Counts what is written."""

    def __init__(self, file: BinaryIO, error: Rejected, bound: int) -> None:
        self._file = file
        self._error = error
        self._left = bound

    def write(self, data: bytes) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise self._error
        return self._file.write(data)


class _Directory:
    """A zip whose directory is bounded.

    ZipFile reads the directory at once and holds an object for each member.
    """

    def __init__(self, file: BinaryIO, size: int, bounds: Bounds) -> None:
        self._file = file
        self._size = size
        self._most = bounds.directory

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._file.tell()
        if (left if size < 0 else min(size, left)) > self._most:
            raise exceeded("bytes of the zip's directory", "directory", self._most)
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True
