"""The bounds of a report, checked on its bytes before a parser gets them.

The parsers cannot be asked for this: ijson reads a text again with every piece of it that comes, names each value by
all that it lies in, and dies of a whole number with more digits than Python converts.
"""

import re
from array import array
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import IO, Protocol

from rollcall.adapters.decompression import Inflater
from rollcall.core.errors import SourceError
from rollcall.core.limits import UNPACKED_FREELY, Limits
from rollcall.core.numbers import LONGEST_NUMBER
from rollcall.core.values import counted

#: Bytes that are read at once.
PIECE = 64 * 1024
#: Takes the place of a number that no parser should convert: beyond `MOST_EXPONENT`, and quickly read.
FAR_NUMBER = b"1e9999"

_NUMERIC = b"+-.0123456789Ee"
#: Outlines of what is outside of texts, in which a plain search finds a long number and a long exponent.
_RUN = bytes(0x30 if byte in _NUMERIC else 0x20 for byte in range(256))
_LONG_RUN = b"0" * (LONGEST_NUMBER + 1)
_SHAPE = bytes({0x45: 0x65, 0x65: 0x65, 0x2B: 0x2B, 0x2D: 0x2B}.get(byte, _RUN[byte]) for byte in range(256))
#: A Decimal takes exponents of up to 18 digits.
_LONG_EXPONENTS = (b"e000000", b"e+000000")
#: Read as signed bytes: a step into an object or array is 1, one out of it is -1.
_STEPS = bytes({0x5B: 1, 0x7B: 1, 0x5D: 255, 0x7D: 255}.get(byte, 0) for byte in range(256))
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_TOKEN = re.compile(rb'"[^"]*+"?|-?[0-9][-+.0-9eE]*+')


class Stream(Protocol):
    """Bytes to be read in pieces; an empty piece is the end."""

    def read(self, size: int = -1, /) -> bytes: ...


def exceeded(what: str, name: str) -> SourceError:
    """The error of a report that is larger than its declaration allows."""
    return SourceError(f"{what} (Limits.{name}); if that is right, declare the report with limits=Limits({name}=...)")


class Unpacked:
    """A compressed stream, unpacked piece by piece; its end is only the true one."""

    def __init__(self, stream: Stream, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._inflater = Inflater()
        self._pieces: Iterator[bytes] = iter(())
        self._packed = self._unpacked = 0

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes. Raises SourceError where they are too many, and zlib.error or OSError where they are none."""
        while True:
            for piece in self._pieces:
                if piece:
                    self._count(len(piece))
                    return piece
            packed = self._stream.read(PIECE)
            if not packed:
                if not self._inflater.ended:
                    raise OSError("what is compressed ends early")
                return b""
            self._packed += len(packed)
            if self._packed > self._limits.total:
                raise exceeded(f"it has more than {self._limits.total:,} bytes, compressed", "total")
            self._pieces = self._inflater.inflate(packed, size if 0 < size < PIECE else PIECE)

    def _count(self, length: int) -> None:
        self._unpacked += length
        if self._unpacked > max(UNPACKED_FREELY, self._limits.ratio * self._packed):
            raise exceeded(f"it unpacks to more than {self._limits.ratio} times what was sent", "ratio")


class Counted:
    """A stream of a bounded number of bytes."""

    def __init__(self, stream: Stream, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._total = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(PIECE if size < 0 else size)
        self._total += len(data)
        if self._total > self._limits.total:
            raise exceeded(f"it has more than {self._limits.total:,} bytes", "total")
        return data


class Scanned:
    """JSON or JSON lines in which no text, nesting or record is larger than allowed, and no number needs computing.

    It knows enough of JSON to tell texts, brackets and numbers apart, and leaves to the parser what is wrong. A number
    that is too long is handed on as `FAR_NUMBER`. Each piece is worked through a fixed number of times.
    """

    def __init__(self, stream: Stream, limits: Limits, around: int) -> None:
        """`around` is in how many brackets a record lies: 0 for a line, 1 for an item of an array at the top."""
        self._stream = stream
        self._limits = limits
        self._around = around
        #: What the last piece ended with: within a text and behind a backslash, so deep, so far into text and record.
        self._in_text = self._escaped = False
        self._depth = self._text = self._record = 0
        #: The beginning of a number, and whether the rest of one that was handed on is still to come.
        self._begun = b""
        self._in_number = False

    def read(self, size: int = -1, /) -> bytes:
        if size == 0:
            return b""  # ijson asks so whether the stream is one of bytes
        while data := self._stream.read(PIECE if size < 0 else max(1, size - len(self._begun))):
            if scanned := self._scan(data):
                return scanned
        last, self._begun = self._begun, b""
        return last

    def _scan(self, data: bytes) -> bytes:
        if self._in_number:
            data = data.lstrip(_NUMERIC)
            self._in_number = not data
        data, self._begun = self._begun + data, b""
        in_text, plain = self._in_text, self._without_escapes(data)
        parts = plain.split(b'"')
        self._measure_texts(parts, len(data))
        outside = b" ".join(parts[in_text::2])
        self._measure_brackets(outside, len(data))
        end = b""
        if not self._in_text:
            numeric = len(outside) - len(outside.rstrip(_NUMERIC))
            if numeric > LONGEST_NUMBER:
                self._in_number, end = True, FAR_NUMBER
            else:
                self._begun = data[len(data) - numeric :]
            data, plain = data[: len(data) - numeric], plain[: len(data) - numeric]
            outside = outside[: len(outside) - numeric]
        return (_with_far_numbers(data, plain, in_text) if _long_number(outside) else data) + end

    def _without_escapes(self, data: bytes) -> bytes:
        """`data` of the same length without any quote that does not begin or end a text."""
        if self._escaped and data:
            data = b"_" + data[1:]
        if b"\\" in data:
            data = _ESCAPED.sub(b"__", data)
        self._escaped = data.endswith(b"\\")
        return data

    def _measure_texts(self, parts: list[bytes], length: int) -> None:
        """`parts` of a piece are by turns outside and inside of a text."""
        most, began_inside = self._limits.string, self._in_text
        first = self._text + len(parts[0]) if began_inside else 0
        if first > most or (length > most and max(map(len, parts[1 + began_inside :: 2]), default=0) > most):
            raise exceeded(f"one of its texts has more than {most:,} bytes", "string")
        self._in_text = began_inside ^ (len(parts) % 2 == 0)
        if self._in_text:
            self._text = first if len(parts) == 1 else len(parts[-1])

    def _measure_brackets(self, outside: bytes, length: int) -> None:
        steps = array("b", outside.translate(_STEPS, _NO_BRACKET))
        depths = list(accumulate(steps, initial=self._depth))
        self._depth = depths[-1]
        if max(depths) > self._limits.nesting:
            raise exceeded(f"it is nested more than {counted(self._limits.nesting, 'level')} deep", "nesting")
        # A record that fills whole pieces is measured by them: it may be larger by what it has of two others.
        self._record = 0 if min(depths) <= self._around else self._record + length
        if self._record > self._limits.record:
            raise exceeded(f"one of its records has more than {self._limits.record:,} bytes", "record")


def _long_number(outside: bytes) -> bool:
    """Whether there is a number that no parser should convert in what is outside of texts."""
    if _LONG_RUN in outside.translate(_RUN):
        return True
    shape = outside.translate(_SHAPE)
    return any(exponent in shape for exponent in _LONG_EXPONENTS)


def _with_far_numbers(data: bytes, plain: bytes, in_text: bool) -> bytes:
    quoted = b'"' + plain if in_text else plain
    pieces, done = [], 0
    for token in _TOKEN.finditer(quoted):
        if not token[0].startswith(b'"') and _long_number(token[0]):
            pieces += [data[done : token.start() - in_text], FAR_NUMBER]
            done = token.end() - in_text
    return b"".join([*pieces, data[done:]])


class Lines:
    """Text lines of a bounded length; `taken` begins a record, and a record's lines together are bounded, too."""

    def __init__(self, text: IO[str], limits: Limits) -> None:
        self._next: Callable[[int], str] = text.readline
        self._most = limits.record
        self._length = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._next(self._most + 1 - self._length)
        if not line:
            raise StopIteration
        self._length += len(line)
        if self._length > self._most:
            raise exceeded(f"one of its records has more than {self._most:,} characters", "record")
        return line

    def taken(self) -> int:
        """Begin the next record; returns the characters of the one that ends here."""
        length, self._length = self._length, 0
        return length
