"""Paths of requests: whether a server may read one as a path outside of the target's own."""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

#: Decodings that a path is looked at through: a proxy, a framework and a handler may each decode it once. One that
#: changes yet again is refused.
MOST_DECODINGS = 4

#: UTF-8 in more bytes than needed, for an ASCII character: `%c0%ae` is read as a dot by decoders that do not check.
_OVERLONG = re.compile(rb"[\xc0\xc1]([\x80-\xbf])|\xe0[\x80\x81]([\x80-\xbf])|\xf0\x80[\x80\x81]([\x80-\xbf])")
#: As Microsoft's servers spell characters: `%u002e`.
_CODE_POINT = re.compile(rb"%[uU]([0-9a-fA-F]{4})")
_UNSEEN = re.compile(r"[\x00-\x20\x7f]+")
#: Characters that are normalized to nothing like a slash, and that look or are converted like one.
_SLASHES = str.maketrans({"\\": "/", "\u2215": "/", "\u2044": "/", "\u29f8": "/", "\u29f5": "/", "\ufe68": "/"})


def leaves_base(path: str) -> bool:
    """Whether a segment of `path`, before its query, is `.` or `..` for any server, however it decodes.

    Servers differ in what they decode, how often, and whether before or after they resolve such steps: so every
    reading counts. Encoded slashes alone leave nothing, and are how a key with slashes is sent.
    """
    plain = path.partition("?")[0]
    if plain.isascii() and "." not in plain and "%" not in plain:
        return False
    read = plain.encode("utf-8", "surrogatepass")
    for _ in range(MOST_DECODINGS):
        if _has_step(read):
            return True
        decoded = _decoded(read)
        if decoded == read:
            return False
        read = decoded
    return True


def _decoded(path: bytes) -> bytes:
    path = _CODE_POINT.sub(lambda found: chr(int(found[1], 16)).encode("utf-8", "surrogatepass"), path)
    return unquote_to_bytes(path)


def _has_step(path: bytes) -> bool:
    plain = _OVERLONG.sub(_ascii, path).decode("utf-8", "replace")
    if "." not in plain and plain.isascii():
        return False
    plain = unicodedata.normalize("NFKC", plain.translate(_SLASHES)).translate(_SLASHES)
    return any(_is_step(segment) for segment in plain.split("/"))


def _is_step(segment: str) -> bool:
    """Whether a segment is a step, also with parameters (`..;v=1`), cut off at a NUL, or with spaces about it."""
    name = segment.partition(";")[0].partition("\0")[0]
    return _UNSEEN.sub("", name) in {".", ".."}


def _ascii(found: re.Match[bytes]) -> bytes:
    last = found[1] or found[2] or found[3]
    lead = found[0][0] if found[1] else found[0][-2]
    return bytes([((lead & 1) << 6) | (last[0] & 0x3F)])
