"""Reports, streamed record by record from HTTP, S3 or a file, in JSON, JSON lines or CSV."""

import csv
import io
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import parse_qsl, unquote, urljoin, urlsplit

from rollcall.adapters.clients import AWS_ERRORS, Clients, words_of
from rollcall.adapters.decompression import CODINGS, IDENTITY
from rollcall.adapters.report_limits import Counted, Lines, Scanned, Stream, Unpacked, exceeded
from rollcall.adapters.secrets import Secrets
from rollcall.core.errors import RollcallError, SourceError
from rollcall.core.limits import Limits
from rollcall.core.numbers import UNUSABLE_NUMBER, is_usable
from rollcall.core.run import Record
from rollcall.core.target import Format, Location, Report

CONNECT_SECONDS = 10
#: A report may take minutes to be computed before its first byte.
READ_SECONDS = 300
#: Tries to open a report that is unreachable or answers 5xx; none once a byte of it has been read.
OPEN_RETRIES = 2
#: Redirects that are followed, one after another, all within the report's own origin.
MOST_REDIRECTS = 5
#: https://www.rfc-editor.org/rfc/rfc9110#name-redirection-3xx
REDIRECTS = frozenset({301, 302, 303, 307, 308})
UNAUTHORIZED = 401
#: Errors within an error that are looked at.
MOST_INNER = 6
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
#: What is kept of a report's beginning, to tell an empty array from a missing one.
KEPT_BYTES = 64 * 1024


class Reports:
    """Opens and reads the reports that this environment binds."""

    def __init__(self, locations: Mapping[str, Location], secrets: Secrets, clients: Clients) -> None:
        self._locations = locations
        self._secrets = secrets
        self._clients = clients
        for location in locations.values():
            secrets.in_use.add(*_hidden_in(location.url))

    def read(self, report: Report) -> Iterator[Record]:
        """The records of `report`. Raises SourceError where it cannot be trusted as a whole."""
        location = self._locations.get(report.name)
        if location is None:
            raise RollcallError(
                f"the report {report.name} is not bound in this environment, or not listed among the job's needs"
            )
        number = 0
        try:
            with closing(self._open(location)) as stream:
                for number, record in enumerate(_records(_bounded(stream, report), report, location), start=1):
                    if not isinstance(record, dict):
                        raise SourceError(f"record {number} is of type {type(record).__name__}, not an object")
                    yield record
        except SourceError as error:
            raise SourceError(f"the report {report.name} ({shown(location)}): {error}") from error
        except (OSError, ValueError, zlib.error, *AWS_ERRORS) as error:
            where = f"broke off after {number:,} records" if number else "cannot be read"
            said = words_of(error) if isinstance(error, AWS_ERRORS) else error
            raise SourceError(f"the report {report.name} ({shown(location)}) {where}: {said}") from error

    def _open(self, location: Location) -> IO[bytes]:
        try:
            parts = urlsplit(location.url)
        except ValueError:
            raise SourceError("its URL is none; correct it where it is bound") from None
        if parts.scheme in {"http", "https"}:
            return self._open_http(location)
        if parts.scheme == "s3":
            answer = self._clients.s3.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))
            return cast(IO[bytes], answer["Body"])
        return Path(parts.path if parts.scheme == "file" else location.url).open("rb")

    def _open_http(self, location: Location) -> IO[bytes]:
        import urllib3

        retry = urllib3.Retry(
            OPEN_RETRIES, backoff_factor=0.5, status_forcelist=[500, 502, 503, 504], raise_on_status=False
        )
        pool = urllib3.PoolManager(num_pools=1, retries=retry, timeout=urllib3.Timeout(CONNECT_SECONDS, READ_SECONDS))
        secret = location.secret
        authorization = None if secret is None else self._secrets.authorization(secret)
        response = _answer(pool, location, authorization)
        if response.status == UNAUTHORIZED and secret is not None and authorization is not None:
            newer = self._secrets.newer_authorization(secret, authorization)
            if newer is not None:
                response.close()
                response = _answer(pool, location, newer)
        if response.status != 200:
            response.close()
            raise SourceError(f"it answered HTTP {response.status}")
        return cast(IO[bytes], _HttpStream(response))


def _answer(pool: Any, location: Location, authorization: str | None) -> Any:
    """Ask for a report; returns the answer after redirects within the location's own origin.

    Raises SourceError for any other redirect: the credentials are for this origin, and so is the trust in its list.
    """
    import urllib3

    headers = {"Accept": "application/json, text/csv;q=0.5, */*;q=0.1", "User-Agent": "rollcall"}
    if authorization is not None:
        headers["Authorization"] = authorization
    origin, url = _origin(location.url), location.url
    for _ in range(MOST_REDIRECTS + 1):
        try:
            response = pool.request("GET", url, headers=headers, preload_content=False, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise SourceError(f"it is unreachable: {_trouble(error)}") from error
        target = response.headers.get("Location")
        if response.status not in REDIRECTS or target is None:
            return response
        response.close()
        url = _within(origin, url, target)
    raise SourceError(f"it redirects more than {MOST_REDIRECTS} times; bind the report to where it lies")


def _within(origin: str | None, url: str, target: str) -> str:
    """The URL that a redirect from `url` leads to. Raises SourceError where that is not in `origin`."""
    try:
        url = urljoin(url, target)
        parts = urlsplit(url)
    except ValueError:
        raise SourceError("it redirects to a URL that is none") from None
    elsewhere = _origin(url)
    if elsewhere is None or elsewhere != origin:
        raise SourceError(
            f"it redirects to another origin, {elsewhere or 'which is none of HTTP'}; bind the report to where it lies"
        )
    # Put together anew, for two readers of one strange URL may see two hosts in it.
    return f"{origin}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")


def _origin(url: str) -> str | None:
    """Scheme, host and port of a URL, without its user; None where it has none of HTTP's.

    https://www.rfc-editor.org/rfc/rfc6454#section-4
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    if port is None or not _HOST.fullmatch(host):
        return None
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


class _HttpStream:
    """A response as a stream whose troubles are OSErrors, and whose end is only the true one."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def read(self, size: int = -1) -> bytes:
        import urllib3

        try:
            data: bytes = self._response.read(None if size < 0 else size, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise OSError(f"the connection ended early: {_trouble(error)}") from error
        return data

    @property
    def coding(self) -> str:
        """How its bytes are compressed: not by what is asked for, but some servers do it anyway."""
        return str(self._response.headers.get("content-encoding", "")).strip().lower()

    def close(self) -> None:
        self._response.close()


def _trouble(error: BaseException) -> str:
    """What the system says of a connection, or else the classes of the errors: their texts repeat URLs and answers."""
    kinds: list[str] = []
    found: BaseException | None = error
    while found is not None and len(kinds) < MOST_INNER:
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
        kinds.append(type(found).__name__)
        reason = getattr(found, "reason", None)
        found = reason if isinstance(reason, BaseException) else found.__cause__ or found.__context__
    return ", ".join(dict.fromkeys(kinds))


def shown(location: Location) -> str:
    """A location without its query and its user, where tokens and passwords hide."""
    try:
        parts = urlsplit(location.url)
        _ = parts.port
    except ValueError:
        return "a URL that is none"  # a password with a slash in it looks like a port and a path
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _hidden_in(url: str) -> Iterator[str]:
    """What may be secret in a URL: its user, its password, and the values of its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    for text in (parts.username, parts.password, parts.fragment):
        yield from () if text is None else (text, unquote(text))
    yield from (value for _, value in parse_qsl(parts.query))


def _bounded(stream: IO[bytes], report: Report) -> Stream:
    """What `stream` holds, unpacked, and not more of it than the report may have."""
    coding = stream.coding if isinstance(stream, _HttpStream) else ""
    if coding in IDENTITY:
        return Counted(stream, report.limits)
    if coding not in CODINGS:
        raise SourceError("its Content-Encoding is not supported; take gzip, deflate or none")
    return Counted(Unpacked(stream, report.limits), report.limits)


def _records(stream: Stream, report: Report, location: Location) -> Iterator[Any]:
    match location.record_format():
        case Format.JSON:
            return _json(Scanned(stream, report.limits, around=1 if report.array is None else 2), report.array)
        case Format.JSON_LINES:
            return _json_lines(Scanned(stream, report.limits, around=0), report.limits)
        case Format.CSV:
            return _csv(stream, report.limits)


class _Beginning:
    """Keeps the first bytes that pass through a stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.kept = b""
        self.length = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.length += len(data)
        if len(self.kept) < KEPT_BYTES:
            self.kept += data[: KEPT_BYTES - len(self.kept)]
        return data


def _json(stream: Stream, array: str | None) -> Iterator[Any]:
    import ijson

    beginning = _Beginning(stream)
    found = False
    try:
        for record in ijson.items(beginning, f"{array}.item" if array else "item"):
            if not found and not _begins_array(beginning.kept, array):
                break
            found = True
            yield with_numbers(record)
    except ijson.JSONError as error:
        raise ValueError(f"it is not whole JSON{_fault(error)}") from error
    if not found and not _is_empty_array(beginning, array):
        raise SourceError(f"it has no array {array!r}" if array else "it is not an array")


def _fault(error: Exception) -> str:
    """What yajl says, without the lines that show the document; nothing of another parser, which quotes it at once."""
    # Text that is no UTF-8 is shown as Python shows bytes.
    said = str(error).removeprefix("b'").partition("\n")[0].partition(r"\n")[0]
    return f": {said}" if said.startswith(("parse error: ", "lexical error: ")) else ""


def _begins_array(kept: bytes, array: str | None) -> bool:
    """Whether it is an array that the records are taken from: ijson also takes them from a key named `item`."""
    name = rb"\s*" if array is None else rb'"' + re.escape(array.encode()) + rb'"\s*:\s*'
    begin = re.match(name, kept) if array is None else re.search(name, kept)
    return begin is None or kept[begin.end() : begin.end() + 1] == b"["


def with_numbers(value: Any) -> Any:
    """`value` with its decimals as plain numbers where that changes none of them; they stay decimals elsewhere.

    A number that would be costly to handle becomes one that no payload may hold. Dicts and lists are changed in place.
    """
    kind = type(value)
    if kind is Decimal:
        return _plain(value)
    if kind is dict:
        for name, member in value.items():
            if type(member) in _CHANGED:
                value[name] = with_numbers(member)
    elif kind is list:
        for index, member in enumerate(value):
            if type(member) in _CHANGED:
                value[index] = with_numbers(member)
    return value


_CHANGED = frozenset({Decimal, dict, list})


def _plain(number: Decimal) -> float | Decimal:
    if not is_usable(number):
        return UNUSABLE_NUMBER
    plain = float(number)
    return plain if math.isfinite(plain) and Decimal(repr(plain)) == number else number


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _is_empty_array(beginning: _Beginning, array: str | None) -> bool:
    if beginning.length > KEPT_BYTES:
        return False
    document = json.loads(beginning.kept)
    if array is None:
        return bool(document == [])
    return isinstance(document, dict) and document.get(array) == []


def _json_lines(stream: Stream, limits: Limits) -> Iterator[Any]:
    lines = Lines(_text(stream), limits)
    for number, line in enumerate(lines, start=1):
        lines.taken()
        if line.strip():
            try:
                yield with_numbers(json.loads(line, parse_float=Decimal, parse_constant=_no_constant))
            except ValueError as error:
                raise ValueError(f"line {number} is not JSON: {error}") from error


def _csv(stream: Stream, limits: Limits) -> Iterator[dict[str, str]]:
    # The module's own bound on a field holds for the whole process; that of the report is not known to it.
    csv.field_size_limit(max(csv.field_size_limit(), limits.record))
    lines = Lines(_text(stream), limits)
    rows = csv.reader(lines, strict=True)
    try:
        names = next(rows, None)
        if not names:
            raise SourceError("it has no header line")
        if len(set(names)) < len(names):
            raise SourceError(f"its header names a column twice: {_twice(names)}; see whether it has a header line")
        lines.taken()
        for row in rows:
            if row and len(row) != len(names):
                raise ValueError(f"line {rows.line_num} has {len(row)} of {len(names)} columns")
            if lines.taken() > limits.string and max(map(len, row)) > limits.string:
                raise exceeded(f"one of its texts has more than {limits.string:,} characters", "string")
            if row:
                yield dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise ValueError(f"line {rows.line_num}: {error}") from error


def _twice(names: list[str]) -> str:
    """Where a name comes again, by number: without a header line, names are values of the first record."""
    again = next(number for number, name in enumerate(names) if name in names[:number])
    return f"columns {names.index(names[again]) + 1} and {again + 1}"


def _text(stream: Stream) -> IO[str]:
    """Text of a stream, UTF-8 with or without a byte order mark; its lines end as they end."""

    class Raw(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            data = stream.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)

    return io.TextIOWrapper(io.BufferedReader(Raw(), 64 * 1024), encoding="utf-8-sig", newline="")
