"""Reports, streamed record by record from HTTP, S3 or a file, in JSON, JSON lines or CSV."""

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

from rollcall.adapters.clients import AWS_ERRORS, Clients
from rollcall.adapters.secrets import Secrets
from rollcall.core.errors import RollcallError, SourceError
from rollcall.core.run import Record
from rollcall.core.target import Format, Location, Report

CONNECT_SECONDS = 10
#: A report may take minutes to be computed before its first byte.
READ_SECONDS = 300
#: Tries to open a report that is unreachable or answers 5xx; none once a byte of it has been read.
OPEN_RETRIES = 2
#: What is kept of a report's beginning, to tell an empty array from a missing one.
KEPT_BYTES = 64 * 1024


class Reports:
    """Opens and reads the reports that this environment binds."""

    def __init__(self, locations: Mapping[str, Location], secrets: Secrets, clients: Clients) -> None:
        self._locations = locations
        self._secrets = secrets
        self._clients = clients

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
                for number, record in enumerate(_records(stream, report, location), start=1):
                    if not isinstance(record, dict):
                        raise SourceError(f"record {number} is of type {type(record).__name__}, not an object")
                    yield record
        except SourceError as error:
            raise SourceError(f"the report {report.name} ({shown(location)}): {error}") from error
        except (OSError, ValueError, *AWS_ERRORS) as error:
            where = f"broke off after {number:,} records" if number else "cannot be read"
            raise SourceError(f"the report {report.name} ({shown(location)}) {where}: {error}") from error

    def _open(self, location: Location) -> IO[bytes]:
        if location.scheme in {"http", "https"}:
            return self._open_http(location)
        parts = urlsplit(location.url)
        if location.scheme == "s3":
            answer = self._clients.s3.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))
            return cast(IO[bytes], answer["Body"])
        return Path(parts.path if parts.scheme == "file" else location.url).open("rb")

    def _open_http(self, location: Location) -> IO[bytes]:
        import urllib3

        headers = {"Accept": "application/json, text/csv;q=0.5, */*;q=0.1", "User-Agent": "rollcall"}
        if location.secret is not None:
            headers["Authorization"] = self._secrets.authorization(location.secret)
        retry = urllib3.Retry(
            OPEN_RETRIES, backoff_factor=0.5, status_forcelist=[500, 502, 503, 504], raise_on_status=False
        )
        pool = urllib3.PoolManager(num_pools=1, retries=retry, timeout=urllib3.Timeout(CONNECT_SECONDS, READ_SECONDS))
        try:
            response = pool.request("GET", location.url, headers=headers, preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            # The outer error of urllib3 repeats the URL with its query; the reason within it does not.
            reason = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
            raise SourceError(f"it is unreachable: {reason}") from error
        if response.status != 200:
            beginning = response.read(200).decode("utf-8", errors="replace")
            response.close()
            raise SourceError(f"it answered HTTP {response.status}: {beginning}")
        return cast(IO[bytes], _HttpStream(response))


class _HttpStream:
    """A response as a stream whose troubles are OSErrors, and whose end is only the true one."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def read(self, size: int = -1) -> bytes:
        import urllib3

        try:
            data: bytes = self._response.read(None if size < 0 else size, decode_content=True)
        except urllib3.exceptions.HTTPError as error:
            raise OSError(f"the connection ended early: {error}") from error
        return data

    def close(self) -> None:
        self._response.close()


def shown(location: Location) -> str:
    """A location without its query and its user, where tokens and passwords hide."""
    parts = urlsplit(location.url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _records(stream: IO[bytes], report: Report, location: Location) -> Iterator[Any]:
    match location.record_format():
        case Format.JSON:
            return _json(stream, report.array)
        case Format.JSON_LINES:
            return _json_lines(stream)
        case Format.CSV:
            return _csv(stream)


class _Beginning:
    """Keeps the first bytes that pass through a stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.kept = b""
        self.length = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.length += len(data)
        if len(self.kept) < KEPT_BYTES:
            self.kept += data[: KEPT_BYTES - len(self.kept)]
        return data


def _json(stream: IO[bytes], array: str | None) -> Iterator[Any]:
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
        # The further lines of the message show the data around the fault.
        raise ValueError(f"it is not whole JSON: {error}".partition("\n")[0]) from error
    if not found and not _is_empty_array(beginning, array):
        raise SourceError(f"it has no array {array!r}" if array else "it is not an array")


def _begins_array(kept: bytes, array: str | None) -> bool:
    """Whether it is an array that the records are taken from: ijson also takes them from a key named `item`."""
    name = rb"\s*" if array is None else rb'"' + re.escape(array.encode()) + rb'"\s*:\s*'
    begin = re.match(name, kept) if array is None else re.search(name, kept)
    return begin is None or kept[begin.end() : begin.end() + 1] == b"["


def with_numbers(value: Any) -> Any:
    """`value` with its decimals as plain numbers where that changes none of them; they stay decimals elsewhere."""
    match value:
        case Decimal():
            number = float(value)
            return number if math.isfinite(number) and Decimal(repr(number)) == value else value
        case dict():
            return {name: with_numbers(member) for name, member in value.items()}
        case list():
            return [with_numbers(member) for member in value]
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _is_empty_array(beginning: _Beginning, array: str | None) -> bool:
    if beginning.length > KEPT_BYTES:
        return False
    document = json.loads(beginning.kept)
    if array is None:
        return bool(document == [])
    return isinstance(document, dict) and document.get(array) == []


def _json_lines(stream: IO[bytes]) -> Iterator[Any]:
    for number, line in enumerate(_lines(stream), start=1):
        if line.strip():
            try:
                yield with_numbers(json.loads(line, parse_float=Decimal, parse_constant=_no_constant))
            except ValueError as error:
                raise ValueError(f"line {number} is not JSON: {error}") from error


def _csv(stream: IO[bytes]) -> Iterator[dict[str, str]]:
    rows = csv.reader(_lines(stream), strict=True)
    try:
        names = next(rows, None)
        if not names:
            raise SourceError("it has no header line")
        if len(set(names)) < len(names):
            raise SourceError(f"its header names a column twice: {', '.join(names)}")
        for row in rows:
            if row and len(row) != len(names):
                raise ValueError(f"line {rows.line_num} has {len(row)} of {len(names)} columns")
            if row:
                yield dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise ValueError(f"line {rows.line_num}: {error}") from error


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Text lines of any byte stream, UTF-8 with or without a byte order mark."""

    class Raw(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            data = stream.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)

    return iter(io.TextIOWrapper(io.BufferedReader(Raw(), 64 * 1024), encoding="utf-8-sig", newline=""))
