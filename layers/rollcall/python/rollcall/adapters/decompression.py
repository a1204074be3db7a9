"""Decompression in pieces, so that what is unpacked is bounded whatever was packed."""

import zlib
from collections.abc import Iterator

IDENTITY = frozenset({"", "identity"})
CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
#: What lies behind the end of a compressed member is copied once for each of the members in a piece.
PIECE = 4 * 1024


class Inflater:
    """Unpacks gzip, also of several members, or zlib's deflate; told apart by their first bytes."""

    def __init__(self) -> None:
        self._decoder = _decoder()
        self._begun = False

    def inflate(self, packed: bytes | bytearray, most: int) -> Iterator[bytes]:
        """What is in `packed`, in pieces of up to `most` bytes. Raises zlib.error for what is not compressed."""
        for start in range(0, len(packed), PIECE):
            rest = bytes(packed[start : start + PIECE])
            while rest:
                if self._decoder.eof:
                    self._decoder = _decoder()
                self._begun = True
                yield self._decoder.decompress(rest, most)
                rest = self._decoder.unconsumed_tail or self._decoder.unused_data
        # A piece of the largest size may leave more within the decoder, which takes no input.
        while self._begun and not self._decoder.eof:
            more = self._decoder.decompress(b"", most)
            if not more:
                return
            yield more

    @property
    def ended(self) -> bool:
        """Whether nothing is missing: the last member is whole, or there was none at all."""
        return self._decoder.eof or not self._begun


def _decoder() -> "zlib._Decompress":
    return zlib.decompressobj(wbits=47)
