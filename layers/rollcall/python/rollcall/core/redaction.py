"""Secrets replaced in texts, in every form in which answers, errors and log lines usually repeat them."""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, TypeAlias

#: Returns a text without the secrets in use.
Redact: TypeAlias = Callable[[str], str]

REPLACEMENT = "[secret]"
#: Stands for a value of a record.
VALUE = "[value]"
#: Characters of the shortest value of a record that is replaced: shorter ones are parts of words.
SHORTEST_VALUE = 3
#: Characters of the shortest secret that is replaced: a shorter one occurs in texts by accident.
SHORTEST = 8
#: Bytes of a text in which escapes are undone, which is slow. Behind them, only unescaped forms are found.
MOST_ESCAPED = 16 * 1024
#: Layers of escapes that are undone, as in a quoted URL in the JSON that a log line of a gateway quotes.
LAYERS = 3


def unredacted(text: str) -> str:
    """`text` as it is, where no secret is in use."""
    return text


def texts_of(secret: str) -> Iterator[str]:
    """The texts that a secret consists of: the whole, its lines, and the values of its JSON."""
    yield secret
    yield from (line.strip() for line in secret.splitlines())
    try:
        yield from _leaves(json.loads(secret))
    except (ValueError, RecursionError):
        return


def _leaves(value: Any) -> Iterator[str]:
    match value:
        case None | bool():
            return
        case Mapping():
            for member in value.values():
                yield from _leaves(member)
        case list() | tuple():
            for member in value:
                yield from _leaves(member)
        case _:
            yield str(value)


def without_values(text: str, *records: object) -> str:
    """`text` with the values of records replaced, of all but the shortest; names of their fields stay."""
    values = {value for record in records for value in _leaves(record) if len(value) >= SHORTEST_VALUE}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, VALUE)
    return text


class Redaction:
    """Replaces a set of secret texts of at least `SHORTEST` characters; called with a text, returns it without them."""

    def __init__(self, texts: frozenset[str] = frozenset()) -> None:
        self._texts = texts

    def also(self, texts: Iterable[str]) -> "Redaction":
        """The redaction that replaces `texts`, too."""
        more = self._texts.union(text for text in texts if len(text) >= SHORTEST)
        return self if more == self._texts else Redaction(more)

    def __call__(self, text: str) -> str:
        if not self._texts or len(text) < SHORTEST:
            return text
        data = text.encode("utf-8", "surrogatepass")
        spans = list(self._found(data))
        for plain, origins in _unescaped(data[:MOST_ESCAPED]):
            spans += [(origins[start], origins[end]) for start, end in self._found(plain)]
        return _replaced(data, spans).decode("utf-8", "surrogatepass") if spans else text

    def _found(self, data: bytes) -> Iterator[tuple[int, int]]:
        for form in self._forms:
            start = data.find(form)
            while start >= 0:
                yield start, start + len(form)
                start = data.find(form, start + 1)

    @cached_property
    def _forms(self) -> tuple[bytes, ...]:
        """What is looked for; what only escapes make different is not among it."""
        return tuple({form for text in self._texts for form in _forms_of(text.encode("utf-8", "surrogatepass"))})


def _forms_of(plain: bytes) -> Iterator[bytes]:
    yield plain
    yield plain.replace(b" ", b"+")
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    whole = base64.b64encode(plain)
    # In Base64 of a longer text, a secret has one of three forms, by where it begins; the characters at its ends also
    # depend on its neighbours.
    shifted = [base64.b64encode(bytes(shift) + plain) for shift in range(3)]
    pieces = [form[-(-shift * 8 // 6) : (shift + len(plain)) * 8 // 6] for shift, form in enumerate(shifted)]
    for form in (whole, whole.rstrip(b"="), *pieces):
        yield form
        yield form.translate(bytes.maketrans(b"+/", b"-_"))


_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_REFERENCES = {b"&amp;": b"&", b"&lt;": b"<", b"&gt;": b">", b"&quot;": b'"', b"&apos;": b"'"}


def _percent(escape: bytes) -> bytes:
    return bytes.fromhex(escape[1:].decode())


def _reference(escape: bytes) -> bytes:
    if escape in _REFERENCES:
        return _REFERENCES[escape]
    digits = escape[2:-1].decode()
    return _character(int(digits[1:], 16) if digits[0] in "xX" else int(digits)) or escape


def _of_bytes(escape: bytes) -> bytes:
    """As in JSON, and in what Python shows of bytes."""
    kind, code = escape[1:2], escape[2:].decode("latin-1")
    if kind == b"x":
        return bytes.fromhex(code)
    return _of_text(escape)


def _of_text(escape: bytes) -> bytes:
    """As in JSON, and in what JavaScript and Python show of text."""
    kind, code = escape[1:2], escape[2:].decode("latin-1")
    if kind not in {b"x", b"u", b"U"}:
        return _LETTERS.get(kind, kind)
    if len(code) == len(r"d83d\ude00"):
        return bytes.fromhex(code[:4] + code[6:]).decode("utf-16-be").encode()
    return _character(int(code, 16)) or escape


def _character(code: int) -> bytes | None:
    return chr(code).encode("utf-8", "surrogatepass") if code <= 0x10FFFF else None


@cache
def _ways() -> tuple[tuple[re.Pattern[bytes], Callable[[bytes], bytes]], ...]:
    """Ways to escape, each with what its escapes mean; made on first use, for importing a handler is to cost nothing.

    One at a time is undone: what escapes in one is itself in another.
    """
    backslash = re.compile(
        rb"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}"
        rb"|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}|\\x[0-9A-Fa-f]{2}|\\[^uUx]"
    )
    return (
        (re.compile(rb"%[0-9A-Fa-f]{2}"), _percent),
        (re.compile(rb"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos);"), _reference),
        (backslash, _of_bytes),
        (backslash, _of_text),
    )


#: Every escape has one of these.
_MARKS = (b"%", b"&", b"\\")


def _unescaped(data: bytes) -> Iterator[tuple[bytes, Sequence[int]]]:
    """`data` with escapes undone, in every way and order; with each, where its bytes come from, and its end."""
    if not any(mark in data for mark in _MARKS):
        return
    seen = {data}
    level: list[tuple[bytes, Sequence[int]]] = [(data, range(len(data) + 1))]
    for _ in range(LAYERS):
        found = [_undone(*view, *way) for view in level for way in _ways()]
        level = []
        for plain, origins in found:
            if plain not in seen:
                seen.add(plain)
                level.append((plain, origins))
        yield from level


def _undone(
    data: bytes, origins: Sequence[int], pattern: re.Pattern[bytes], meant: Callable[[bytes], bytes]
) -> tuple[bytes, Sequence[int]]:
    parts: list[bytes] = []
    found: list[int] = []
    end = 0
    for escape in pattern.finditer(data):
        plain = meant(escape[0])
        parts += [data[end : escape.start()], plain]
        found += [*origins[end : escape.start()], *[origins[escape.start()]] * len(plain)]
        end = escape.end()
    if not parts:
        return data, origins
    return b"".join([*parts, data[end:]]), [*found, *origins[end:]]


def _replaced(data: bytes, spans: Iterable[tuple[int, int]]) -> bytes:
    """`data` with each run of overlapping spans replaced once."""
    parts: list[bytes] = []
    end = 0
    for start, stop in sorted(spans):
        if start >= end:
            parts += [data[end:start], REPLACEMENT.encode()] if start > end or not parts else []
        end = max(end, stop)
    return b"".join([*parts, data[end:]])
