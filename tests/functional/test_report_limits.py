"""Bounds on reports: one that is larger than declared is refused, and read no further than to its bound."""

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import IO, cast
from unittest.mock import Mock, patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall import Entry, Format, Limits, Location, Report, SourceError
from rollcall.adapters import decompression, reports
from rollcall.adapters.clients import Clients
from rollcall.adapters.report_limits import FAR_NUMBER, PIECE, Scanned, Unpacked
from rollcall.adapters.reports import Reports
from rollcall.adapters.secrets import Secrets
from rollcall.core.errors import DeclarationError
from rollcall.core.limits import UNPACKED_FREELY
from rollcall.core.payload import PayloadType
from rollcall.core.run import Record
from tests.functional.loopback import answer, serving

MIB = 1024**2
HEAD = b'{"Report_Entry": ['
DEFAULT = Limits()


class Endless:
    """A stream that begins with `begins` and goes on with `piece` for ever; it counts what is read of it."""

    def __init__(self, begins: bytes, piece: bytes) -> None:
        self._left, self._piece = begins, piece * (1 + PIECE // len(piece))
        self.taken = 0

    def read(self, size: int = -1, /) -> bytes:
        while len(self._left) < size:
            self._left += self._piece
        data, self._left = self._left[:size], self._left[size:]
        self.taken += len(data)
        return data

    def close(self) -> None:
        """There is nothing to close."""


def records(stream: object, form: Format, report: Report) -> Iterator[Record]:
    """The records of a report in `form` whose bytes come from `stream`."""
    made = Reports({report.name: Location("/report", format=form)}, Mock(), Mock())
    with patch.object(made, "_open", lambda _: cast(IO[bytes], stream)):
        yield from made.read(report)


def refused(stream: Endless, form: Format, limits: Limits, array: str | None = "Report_Entry") -> str:
    with pytest.raises(SourceError) as caught:
        list(records(stream, form, Report("deposits", array, limits)))
    return str(caught.value)


# --- the shape of a report: beyond a bound it is refused, wherever it would have ended ---

SMALL = Limits(total=2 * MIB, record=MIB, string=MIB // 2, nesting=10)


@pytest.mark.parametrize(
    ("form", "begins", "piece", "bound"),
    [
        pytest.param(Format.JSON, HEAD + b'{"a": "', b"x", "string", id="a text"),
        pytest.param(Format.JSON, HEAD + b'{"a": "', b'\\"', "string", id="a text of escaped quotes"),
        pytest.param(Format.JSON, HEAD + b'{"a": "', b"\\\\", "string", id="a text of escaped backslashes"),
        pytest.param(Format.JSON, HEAD + b'{"', b"x", "string", id="a name"),
        pytest.param(Format.JSON, b'{"note": "', b"x", "string", id="a text beside the array"),
        pytest.param(Format.JSON, HEAD, b"[", "nesting", id="arrays"),
        pytest.param(Format.JSON, HEAD, b'{"a":', "nesting", id="objects"),
        pytest.param(Format.JSON, b'{"note":', b"[", "nesting", id="arrays beside the array"),
        pytest.param(Format.JSON, HEAD + b'{"a":1', b',"a":1', "record", id="members"),
        pytest.param(Format.JSON, HEAD + b'{"a":[[]', b",[]", "record", id="empty lists"),
        pytest.param(Format.JSON, HEAD + b'{"a":["', b'","', "record", id="empty texts"),
        pytest.param(Format.JSON, b'{"Report_Entry":{"item":{"a":1', b',"b":1', "record", id="no array"),
        pytest.param(Format.JSON, HEAD, b" ", "total", id="space"),
        pytest.param(Format.JSON, HEAD + b'{"a":', b"9", "total", id="a number"),
        pytest.param(Format.JSON, HEAD + b'{"a":1e', b"9", "total", id="an exponent"),
        pytest.param(Format.JSON, HEAD + b"{}", b",{}", "total", id="records"),
        pytest.param(Format.JSON_LINES, b'{"a": 1}\n{"a": "', b"x", "string", id="a text in a line"),
        pytest.param(Format.JSON_LINES, b'{"a": 1}\n', b"1 ", "record", id="a line"),
        pytest.param(Format.JSON_LINES, b"", b" ", "record", id="a line of space"),
        pytest.param(Format.JSON_LINES, b"", b"[", "nesting", id="arrays in a line"),
        pytest.param(Format.JSON_LINES, b"", b'{"a": 1}\n', "total", id="lines"),
        pytest.param(Format.CSV, b'a,b\n1,"', b"x", "record", id="a field"),
        pytest.param(Format.CSV, b'a,b\n1,"', b"x\n", "record", id="a field of lines"),
        pytest.param(Format.CSV, b"a,b\n1", b",1", "record", id="fields"),
        pytest.param(Format.CSV, b'a,b\n"', b'","\n', "record", id="fields on lines of their own"),
        pytest.param(Format.CSV, b"a", b",b", "record", id="columns"),
        pytest.param(Format.CSV, b"a,b\n", b"1,2\n", "total", id="rows"),
    ],
)
def test_what_has_no_end_is_refused_at_its_bound(form: Format, begins: bytes, piece: bytes, bound: str) -> None:
    endless = Endless(begins, piece)
    reason = refused(endless, form, SMALL)
    assert f"(Limits.{bound}); if that is right, declare the report with limits=Limits({bound}=...)" in reason
    most = getattr(SMALL, bound)
    assert f"more than {most:,} " in reason
    assert most <= endless.taken <= most + 3 * PIECE


@pytest.mark.parametrize("form", list(Format))
def test_a_bound_is_the_reports_own(form: Format) -> None:
    """What is beyond one declaration is within another."""
    text = "x" * 5_000
    body = {
        Format.JSON: json.dumps({"Report_Entry": [{"a": text}]}),
        Format.JSON_LINES: json.dumps({"a": text}),
        Format.CSV: f"a\n{text}\n",
    }[form].encode()
    report = Report("deposits", limits=Limits(string=5_000))
    assert list(records(io.BytesIO(body), form, report)) == [{"a": text}]
    with pytest.raises(SourceError, match=r"one of its texts has more than 4,999 .*\(Limits\.string\)"):
        list(records(io.BytesIO(body), form, Report("deposits", limits=Limits(string=4_999))))


@pytest.mark.parametrize("form", [Format.JSON, Format.JSON_LINES])
def test_as_deep_as_declared_is_not_too_deep(form: Format) -> None:
    around = 2 if form is Format.JSON else 0
    record = b'{"a":' * 9 + b"1" + b"}" * 9
    body = HEAD + record + b"]}" if form is Format.JSON else record
    allowed = Report("deposits", limits=Limits(nesting=around + 9))
    assert len(list(records(io.BytesIO(body), form, allowed))) == 1
    with pytest.raises(SourceError, match=rf"nested more than {around + 8} levels deep \(Limits\.nesting\)"):
        list(records(io.BytesIO(body), form, Report("deposits", limits=Limits(nesting=around + 8))))


def test_a_refusal_quotes_nothing_of_the_report() -> None:
    endless = Endless(HEAD + b'{"iban": "', b"DE89370400440532013000")
    assert "3704" not in refused(endless, Format.JSON, SMALL)


def test_many_large_records_are_no_large_record() -> None:
    record = json.dumps({"a": "x" * 900_000}).encode()
    body = HEAD + b",".join([record] * 5) + b"]}"
    assert len(list(records(io.BytesIO(body), Format.JSON, Report("deposits")))) == 5


@pytest.mark.parametrize("field", ["total", "record", "string", "nesting", "ratio"])
def test_a_limit_is_positive(field: str) -> None:
    with pytest.raises(DeclarationError, match=rf"Limits\({field}=0\): a limit is positive"):
        Limits(**{field: 0})


# --- a number that would be costly: its record is an entry that is rejected, and hurts no other ---

COSTLY = [
    "3e6000000", "-3E+6000000", "3e-6000000", "0e6000000", "1e331", "1e99999999999999999999", "9" * 1_101, "9" * 5_000,
    "-" + "9" * 5_000, "1." + "3" * 5_000, "9" * 200_000, "0." + "0" * 200_000 + "1",
]  # fmt: skip


@pytest.mark.parametrize("number", COSTLY, ids=lambda number: f"{number[:12]} of {len(number)}")
@pytest.mark.parametrize("form", [Format.JSON, Format.JSON_LINES])
def test_a_costly_number_rejects_its_entry_and_no_other(form: Format, number: str) -> None:
    def with_number(amount: int, _: object) -> None: ...

    bad, good = f'{{"id": "D00", "amount": {number}, "memo": "{number[:2_000]}"}}', '{"id": "D01", "amount": 1e2}'
    body = f'{{"Report_Entry": [{bad}, {good}]}}' if form is Format.JSON else f"{bad}\n{good}\n"
    found = list(records(io.BytesIO(body.encode()), form, Report("deposits")))
    whole, anything = PayloadType(dict[str, int | str]), PayloadType(object)
    for payloads in (whole, anything):
        first, second = (payloads.enumerated(Entry.of(record, key="id")) for record in found)
        assert first.rejected is not None
        assert "MOST_EXPONENT" in first.rejected
        assert (first.key, first.payload) == ("D00", None)
        assert second.rejected is None
        assert second.payload == {"id": "D01", "amount": 100}
    assert found[0]["memo"] == number[:2_000], "a text of digits is a text"


def test_no_source_computes_with_a_costly_number() -> None:
    (record,) = records(io.BytesIO(b'{"a": 3e6000000}'), Format.JSON_LINES, Report("deposits"))
    number = cast(Decimal, record["a"])
    computations: list[Callable[[], object]] = [
        lambda: int(number), lambda: float(number), lambda: number + 1, lambda: number > 5, lambda: hash(number),
    ]  # fmt: skip
    for compute in computations:
        with pytest.raises((ArithmeticError, ValueError, TypeError)):
            compute()


@pytest.mark.parametrize(
    "number", ["1e330", "-1e-330", "9" * 330, "0." + "3" * 1_098, "0.1", "10.10", "12345678901234567.89", "1E5"]
)
@pytest.mark.parametrize("form", [Format.JSON, Format.JSON_LINES])
def test_a_number_within_the_bounds_keeps_its_value(form: Format, number: str) -> None:
    record = f'{{"a": {number}}}'
    body = f'{{"Report_Entry": [{record}]}}' if form is Format.JSON else record
    ((found),) = records(io.BytesIO(body.encode()), form, Report("deposits"))
    assert Decimal(str(found["a"])) == Decimal(number)


# --- the scan itself ---

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


#: What a scan could take for the end of a text, for a bracket or for a number.
confusing = st.text(st.sampled_from('"\\/9[{é'), min_size=1, max_size=40)


class InPieces:
    """A stream that gives as little at once as a story wants."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes = data, sizes

    def read(self, size: int = -1, /) -> bytes:
        some = min(self._sizes.pop(0) if self._sizes else len(self._data), size)
        data, self._data = self._data[:some], self._data[some:]
        return data


def scanned(data: bytes, sizes: list[int], limits: Limits = DEFAULT) -> bytes:
    stream, pieces = Scanned(InPieces(data, sizes), limits, around=0), []
    while piece := stream.read(PIECE):
        pieces.append(piece)
    return b"".join(pieces)


@given(values, st.booleans(), st.lists(st.integers(1, 9), max_size=200))
def test_a_report_within_its_bounds_passes_as_it_is_however_it_is_cut(
    value: object, ascii_only: bool, sizes: list[int]
) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert scanned(data, sizes) == data


@given(st.lists(st.integers(1, 700), max_size=20), st.integers(1_101, 3_000), confusing)
def test_a_long_number_is_replaced_however_it_is_cut(sizes: list[int], length: int, text: str) -> None:
    quoted = json.dumps({"a": text, "b": "9" * 2_000})
    data = f"[{quoted},-{'9' * length},{quoted}, 1.{'5' * length}e7 ,1]"
    expected = f"[{quoted},{FAR_NUMBER.decode()},{quoted}, {FAR_NUMBER.decode()} ,1]"
    assert json.loads(scanned(data.encode(), sizes), parse_float=str) == json.loads(expected, parse_float=str)


@given(confusing, st.lists(st.integers(1, 5), max_size=60))
def test_a_text_is_measured_as_it_is_quoted_however_it_is_cut(text: str, sizes: list[int]) -> None:
    quoted = json.dumps(text)[1:-1]
    data = json.dumps([text]).encode()
    assert scanned(data, list(sizes), Limits(string=len(quoted))) == data
    if len(quoted) > 1:
        with pytest.raises(SourceError, match=r"Limits\.string"):
            scanned(data, list(sizes), Limits(string=len(quoted) - 1))


# --- compressed reports ---


def read(aws: Clients, url: str, limits: Limits = DEFAULT) -> list[Record]:
    report = Report("deposits", array=None, limits=limits)
    return list(Reports({"deposits": Location(url)}, Secrets(aws.secretsmanager), aws).read(report))


BODY = json.dumps([{"id": f"D{number:04}"} for number in range(5_000)]).encode()


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(BODY)),
        ("X-GZIP", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY[:100]) + gzip.compress(b"") + gzip.compress(BODY[100:])),
        ("deflate", zlib.compress(BODY)),
        ("identity", BODY),
    ],
    ids=["gzip", "its other name", "members", "deflate", "none"],
)
def test_a_compressed_report_is_unpacked(aws: Clients, coding: str, packed: bytes) -> None:
    with serving(answer("200 OK", packed, f"Content-Encoding: {coding}")) as server:
        assert read(aws, server.url) == json.loads(BODY)


@pytest.mark.parametrize(
    ("coding", "packed", "reason"),
    [
        ("gzip", gzip.compress(BODY)[:-1], "what is compressed ends early"),
        ("gzip", gzip.compress(BODY) + b"xyz", "incorrect header check"),
        ("gzip", BODY, "incorrect header check"),
        ("gzip, gzip", gzip.compress(gzip.compress(BODY)), "its Content-Encoding is not supported"),
        ("br", BODY, "its Content-Encoding is not supported"),
    ],
    ids=["cut off", "with more behind its end", "not compressed", "compressed twice", "another coding"],
)
def test_what_is_not_compressed_as_it_says_is_refused(aws: Clients, coding: str, packed: bytes, reason: str) -> None:
    with (
        serving(answer("200 OK", packed, f"Content-Encoding: {coding}")) as server,
        pytest.raises(SourceError, match=reason),
    ):
        read(aws, server.url)


def test_a_csv_that_is_cut_within_its_compression_is_refused_though_all_its_lines_are_whole(aws: Clients) -> None:
    compressor = zlib.compressobj(wbits=31)
    cut = compressor.compress(b"id\n1\n2\n") + compressor.flush(zlib.Z_SYNC_FLUSH)
    with serving(answer("200 OK", cut, "Content-Encoding: gzip")) as server:
        made = Reports({"deposits": Location(server.url, format=Format.CSV)}, Secrets(aws.secretsmanager), aws)
        with pytest.raises(SourceError, match="what is compressed ends early"):
            list(made.read(Report("deposits")))


class Unpacking:
    """zlib's decoder, with a count of what it has made."""

    made = 0

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=47)

    def decompress(self, data: bytes, most: int) -> bytes:
        piece = self._decoder.decompress(data, most)
        Unpacking.made += len(piece)
        return piece

    def __getattr__(self, name: str) -> object:
        return getattr(self._decoder, name)


@pytest.fixture
def unpacking(monkeypatch: pytest.MonkeyPatch) -> type[Unpacking]:
    Unpacking.made = 0
    monkeypatch.setattr(decompression, "_decoder", Unpacking)
    return Unpacking


@pytest.mark.parametrize(
    ("limits", "begins", "filling", "most"),
    [
        (Limits(string=MIB), b'[{"a": "', b"x", MIB),
        (Limits(total=2 * MIB), b"[", b" ", 2 * MIB),
        (Limits(), b"[", b" ", UNPACKED_FREELY),
    ],
    ids=["by the text", "by the total", "by the ratio"],
)
def test_a_bomb_is_unpacked_no_further_than_to_the_bound(
    aws: Clients, unpacking: type[Unpacking], limits: Limits, begins: bytes, filling: bytes, most: int
) -> None:
    compressor = zlib.compressobj(wbits=31)
    packed = compressor.compress(begins + filling * 100 * MIB) + compressor.flush()
    with (
        serving(answer("200 OK", packed, "Content-Encoding: gzip")) as server,
        pytest.raises(SourceError, match=r"\(Limits\.(string|total|ratio)\)"),
    ):
        read(aws, server.url, limits)
    assert most <= unpacking.made <= most + 3 * PIECE


def test_members_without_content_are_read_no_further_than_to_the_bound() -> None:
    endless = Endless(b"", gzip.compress(b"", mtime=0))
    with pytest.raises(SourceError, match=r"more than 1,000,000 bytes, compressed \(Limits\.total\)"):
        Unpacked(endless, Limits(total=1_000_000)).read(PIECE)
    assert endless.taken <= 1_000_000 + PIECE


def test_the_client_of_reports_unpacks_nothing_itself(aws: Clients) -> None:
    packed = gzip.compress(BODY)
    with serving(answer("200 OK", packed, "Content-Encoding: gzip")) as server:
        made = Reports({}, Secrets(aws.secretsmanager), aws)
        stream = made._open(Location(server.url))
        assert isinstance(stream, reports._HttpStream)
        assert stream.read(len(packed)) == packed
        stream.close()
