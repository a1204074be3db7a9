"""The national abstraction licensing database (NALD): a zip of CSV files, read in pieces."""

import csv
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from tempfile import TemporaryFile
from typing import IO, BinaryIO
from urllib.parse import quote

from functions.jobs.water._bounds import BOUNDS, RowLines, counted, exceeded, unpack_member
from rollcall import Objects, Rejected

#: The name under which the list is uploaded every night.
ZIP = "nald.zip"
LICENCES = "NALD_ABS_LICENCES.csv"
#: The column with the id of a licence.
NUMBER = "LIC_NO"
DOCUMENTS = "documents/"
#: Of all documents: more of them are not removed at once, for that would be a list that is cut short.
MOST_REMOVED = 0.5


def csv_key(scheduled_for: datetime) -> str:
    """Return the object name of an import's table of licences."""
    return f"{_folder(scheduled_for)}/{LICENCES}"


def queue_key(scheduled_for: datetime) -> str:
    """Return the object name of an import's list of licences, one line of JSON each."""
    return f"{_folder(scheduled_for)}/queue.jsonl"


def document_key(number: str) -> str:
    """Return the object name of a licence's document."""
    return f"{DOCUMENTS}{quote(number, safe='')}.json"


def _folder(scheduled_for: datetime) -> str:
    return f"imports/{scheduled_for:%Y%m%dT%H%M%SZ}"


def unpack(objects: Objects, scheduled_for: datetime) -> str:
    """Extract the table of licences from the zip, and return the zip's ETag.

    Raises Rejected if the zip cannot be trusted: damaged, without the table, or beyond the `BOUNDS`.
    """
    with TemporaryFile() as packed, TemporaryFile() as table:
        etag = objects.download(ZIP, counted(packed, ZIP, "packed", BOUNDS.packed))
        try:
            unpack_member(packed, LICENCES, table, BOUNDS)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error) as error:
            raise Rejected(f"{ZIP} is damaged: {error}") from error
        except KeyError as error:
            raise Rejected(f"{ZIP} has no {LICENCES}") from error
        objects.upload(csv_key(scheduled_for), table)
    return etag


def licences(objects: Objects, scheduled_for: datetime) -> Iterator[dict[str, str]]:
    """Extract the table of licences from the zip, and return the zip's ETag.

    Raises Rejected if the zip cannot be trusted: damaged, without the table, or beyond the `BOUNDS`.
    """
    with TemporaryFile() as file, _text(file) as text:
        objects.download(csv_key(scheduled_for), counted(file, LICENCES, "unpacked", BOUNDS.unpacked))
        file.seek(0)
        lines = RowLines(text, LICENCES, BOUNDS)
        reader = csv.DictReader(lines)
        try:
            if NUMBER not in (reader.fieldnames or ()):
                raise Rejected(f"{LICENCES} has no column {NUMBER}")
            for number, row in enumerate(reader, start=1):
                if number > BOUNDS.rows:
                    raise exceeded(f"rows of {LICENCES}", "rows", BOUNDS.rows)
                lines.taken()
                yield row
        except (csv.Error, UnicodeDecodeError) as error:
            raise Rejected(f"{LICENCES} is no CSV: line {reader.line_num} cannot be read") from error


def remove_documents(objects: Objects, scheduled_for: datetime) -> int:
    """Delete the documents of licences that are not listed any more; returns how many.

    Raises Rejected where that would be most of them.
    """
    listed = {document_key(row[NUMBER]) for row in licences(objects, scheduled_for)}
    present = list(objects.keys(DOCUMENTS))
    removed = [key for key in present if key not in listed]
    if len(removed) > MOST_REMOVED * len(present):
        raise Rejected(f"{len(removed):,} of {len(present):,} documents would be deleted; see whether {ZIP} is whole")
    for key in removed:
        objects.delete(key)
    return len(removed)


def queue_licences(objects: Objects, scheduled_for: datetime) -> int:
    """Write the list of licences to import, and return their number; raise Rejected for none."""
    with TemporaryFile() as file:
        queue = counted(file, "the queue", "unpacked", BOUNDS.unpacked)
        written = sum(queue.write(json.dumps(row).encode() + b"\n") > 0 for row in licences(objects, scheduled_for))
        if written == 0:
            raise Rejected(f"{LICENCES} lists no licence")
        objects.upload(queue_key(scheduled_for), file)
    return written


def queued(objects: Objects, scheduled_for: datetime) -> Iterator[dict[str, str]]:
    """Yield the licences to import."""
    with TemporaryFile() as file:
        objects.download(queue_key(scheduled_for), counted(file, "the queue", "unpacked", BOUNDS.unpacked))
        file.seek(0)
        for line in file:
            yield json.loads(line)


def pack(rows: Iterable[Mapping[str, str]], fields: Iterable[str], file: BinaryIO) -> None:
    """Write a zip as the list comes in, for local runs and tests."""
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(LICENCES, "w") as member,
        _text(member) as text,
    ):
        writer = csv.DictWriter(text, list(fields))
        writer.writeheader()
        writer.writerows(rows)


def _text(file: IO[bytes]) -> io.TextIOWrapper:
    return io.TextIOWrapper(file, encoding="utf-8", newline="")
