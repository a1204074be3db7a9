"""The system that gives the report of a job: made in slices, so in flat memory, and broken if asked."""

import asyncio
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import TypeAlias

from rollcall.core.job import Example
from tools.stand_ins.authorization import Guard
from tools.stand_ins.connection import Connection
from tools.stand_ins.http import JSON, Request, Response, answer, head, response
from tools.stand_ins.options import Options, OptionsError, ReportFault

Record: TypeAlias = Mapping[str, object]

#: Bytes that are made and sent at once: about a millisecond, for that long no target call is answered.
_SLICE = 16 * 1024
_SLOW_START_SECONDS = 3.0
_TYPES: Mapping[str, str] = {"json": JSON, "jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8"}


class Report:
    def __init__(self, options: Options, example: Example) -> None:
        self._guard = Guard(options.report_secret)
        self._options = options
        self._example = example
        self._check()
        self._head = head(200, f"Content-Type: {_TYPES[options.format]}", "Transfer-Encoding: chunked")

    def _check(self) -> None:
        """Makes the first record, so that a wrong example is found before anybody asks for the report."""
        try:
            next(islice(self.pieces(), 1, None), None)
        except Exception as error:
            raise OptionsError(f"job_module: no record can be made of the job's example: {error!r}") from error

    def serve(self, request: Request, connection: Connection) -> None:
        fault = self._options.report_fault
        refusal = self._guard.refusal(request) or _broken(fault, self._options.items)
        if refusal is not None:
            connection.answer(refusal)
        elif fault is ReportFault.SLOW_START:
            asyncio.get_running_loop().call_later(_SLOW_START_SECONDS, self._stream, connection)
        else:
            self._stream(connection, cut_off=fault is ReportFault.CUT_OFF)

    def _stream(self, connection: Connection, *, cut_off: bool = False) -> None:
        pieces = self.pieces()
        if cut_off:
            pieces = islice(pieces, 1 + self._options.entries // 2)
        connection.stream(self._head, slices(pieces), cut_off=cut_off)

    def pieces(self) -> Iterator[bytes]:
        """What stands before the records, each record, and what stands after them."""
        records = map(self._example, range(self._options.entries))
        match self._options.format:
            case "json":
                return _json(records, self._options.items)
            case "jsonl":
                return _json_lines(records)
            case "csv":
                return _csv(records)


def slices(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces joined to what is sent at once; never an empty one, which would be the last chunk."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= _SLICE:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def _json(records: Iterator[Record], key: str) -> Iterator[bytes]:
    yield f"{{{json.dumps(key)}:[".encode()
    separator = b""
    for record in records:
        yield separator + _dump(record)
        separator = b",\n"
    yield b"]}"


def _json_lines(records: Iterator[Record]) -> Iterator[bytes]:
    for record in records:
        yield _dump(record) + b"\n"


def _csv(records: Iterator[Record]) -> Iterator[bytes]:
    first = next(records, None)
    if first is None:
        return
    row = io.StringIO()
    writer = csv.DictWriter(row, fieldnames=list(first))
    writer.writeheader()
    for record in chain([first], records):
        writer.writerow(record)
        yield row.getvalue().encode()
        row.seek(0)
        row.truncate()


def _dump(record: Record) -> bytes:
    return json.dumps(dict(record), ensure_ascii=False, separators=(",", ":")).encode()


def _broken(fault: ReportFault | None, key: str) -> Response | None:
    """The answer in place of a report, for the faults that are one."""
    match fault:
        case ReportFault.NOT_JSON:
            return response(200, "text/html", b"<!doctype html><title>Sign in</title><form></form>")
        case ReportFault.NOT_AN_ARRAY:
            return answer(200, {key: {"a": 1}})
        case ReportFault.MISSING_KEY:
            return answer(200, {"Other": []})
        case ReportFault.EMPTY:
            return answer(200, {key: []})
        case ReportFault.SERVER_ERROR:
            return answer(500, {"error": "internal error"})
        case _:
            return None
