"""The national list of licences: a zip that is taken apart, compared and written down, in flat memory."""

import io
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, BinaryIO
from unittest.mock import patch

import pytest

from functions.jobs.water import _nald as nald
from functions.jobs.water import import_licence, nald_import
from functions.jobs.water._bounds import Bounds
from rollcall import Rejected, Run, TryAgain

DUE = datetime(2026, 11, 21, 1, tzinfo=UTC)


class Folder:
    """A bucket in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def etag(self, key: str) -> str | None:
        return str(hash(self.objects[key])) if key in self.objects else None

    def download(self, key: str, file: BinaryIO) -> str:
        file.write(self.objects[key])
        return str(hash(self.objects[key]))

    def upload(self, key: str, file: BinaryIO) -> None:
        file.seek(0)
        self.objects[key] = file.read()

    def add(self, key: str, file: BinaryIO, facts: Mapping[str, str]) -> bool:
        raise NotImplementedError

    def facts(self, key: str) -> Mapping[str, str]:
        raise NotImplementedError

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter(sorted(key for key in self.objects if key.startswith(prefix)))

    def documents(self) -> set[str]:
        return set(self.keys(nald.DOCUMENTS))


@pytest.fixture
def folder() -> Folder:
    """What a local run has: ten licences, their documents, and two of licences that are gone."""
    made = Folder()
    nald_import.fill(made, 10)
    return made


def test_the_steps_bring_every_licence_of_the_zip_to_the_last_one(folder: Folder) -> None:
    assert nald.unpack(folder, DUE) == folder.etag(nald.ZIP)
    assert nald.queue_licences(folder, DUE) == 10
    run = Run("import-licence-20261121T010000Z", "import-licence", DUE, _bucket=lambda _: folder)
    entries = list(import_licence.licences(run))
    assert [entry.payload for entry in entries] == [nald_import.example(n) for n in range(10)]
    assert [entry.key for entry in entries] == [nald_import.example(n)[nald.NUMBER] for n in range(10)]


def test_documents_of_licences_that_are_listed_no_more_are_deleted_and_no_others(folder: Folder) -> None:
    nald.unpack(folder, DUE)
    assert nald.remove_documents(folder, DUE) == len(nald_import.STALE)
    assert folder.documents() == {nald.document_key(nald_import.example(n)[nald.NUMBER]) for n in range(10)}
    assert nald.remove_documents(folder, DUE) == 0, "a step that is repeated does nothing more"


def test_a_list_that_would_delete_most_documents_deletes_none(folder: Folder) -> None:
    with io.BytesIO() as file:
        nald.pack([nald_import.example(0)], nald_import.example(0), file)
        folder.upload(nald.ZIP, file)
    nald.unpack(folder, DUE)
    before = folder.documents()
    with pytest.raises(Rejected, match=r"11 of 12 documents would be deleted; see whether nald\.zip is whole"):
        nald.remove_documents(folder, DUE)
    assert folder.documents() == before


def test_a_damaged_zip_is_refused_and_nothing_is_written(folder: Folder) -> None:
    whole, written = folder.objects[nald.ZIP], set(folder.objects)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        (member,) = archive.infolist()
    middle = member.header_offset + 30 + len(member.filename) + member.compress_size // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :]
    for damaged in (whole[: len(whole) // 2], flipped, b"<html>"):
        folder.objects[nald.ZIP] = damaged
        with pytest.raises(Rejected, match="is damaged"):
            nald.unpack(folder, DUE)
        assert set(folder.objects) == written


def test_a_zip_without_the_table_and_a_table_without_its_column_or_rows_are_refused(folder: Folder) -> None:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("OTHER.csv", "x")
        folder.upload(nald.ZIP, file)
    with pytest.raises(Rejected, match=r"has no NALD_ABS_LICENCES\.csv"):
        nald.unpack(folder, DUE)
    folder.objects[nald.csv_key(DUE)] = b"ID,REGION\n1,2\n"
    with pytest.raises(Rejected, match="has no column LIC_NO"):
        nald.queue_licences(folder, DUE)
    folder.objects[nald.csv_key(DUE)] = b"LIC_NO,REGION\n"
    with pytest.raises(Rejected, match="lists no licence"):
        nald.queue_licences(folder, DUE)


# --- a list that is larger than it may be ---


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the list have no more than a story says."""

    def bounded(**changed: int) -> None:
        monkeypatch.setattr(nald, "BOUNDS", replace(Bounds(), **changed))

    return bounded


def zipped(content: bytes, method: int = zipfile.ZIP_DEFLATED, others: int = 0, name: str = nald.LICENCES) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", method) as archive:
            for number in range(others):
                archive.writestr(f"{number:09}{'x' * 200}", b"")
            archive.writestr(name, content)
        return file.getvalue()


def unpacking_is_refused(folder: Folder, packed: bytes, reason: str) -> int:
    """How many bytes were written of the table before its zip was refused; nothing of it is in the bucket."""
    written = 0

    class Table(io.BytesIO):
        def write(self, data: Any) -> int:
            nonlocal written
            written += len(data)
            return super().write(data)

    folder.objects[nald.ZIP] = packed
    before = set(folder.objects)
    tables = [io.BytesIO(), Table()]
    with patch.object(nald, "TemporaryFile", lambda: tables.pop(0)), pytest.raises(Rejected, match=reason):
        nald.unpack(folder, DUE)
    assert set(folder.objects) == before
    return written


def test_a_zip_that_states_a_size_beyond_its_bound_is_not_unpacked(folder: Folder) -> None:
    packed = zipped(bytes(Bounds().unpacked + 1))
    assert unpacking_is_refused(folder, packed, r"more than 209,715,200 \(Bounds\.unpacked in ") == 0


def test_a_zip_that_unpacks_to_much_is_unpacked_no_further_than_to_its_bound(folder: Folder) -> None:
    packed = zipped(b"LIC_NO\n" + b"1\n" * 20_000_000)
    most = 4 * 1024 * 1024
    assert most - 64 * 1024 <= unpacking_is_refused(folder, packed, r"\(Bounds\.ratio in ") <= most


NO_TABLE = r"has no NALD_ABS_LICENCES\.csv"


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (zipped(b"", others=5_000), r"the zip's directory: more than 1,048,576 \(Bounds\.directory"),
        (zipped(b"LIC_NO", zipfile.ZIP_LZMA), "packed by another method than deflate"),
        (zipped(b"LIC_NO", zipfile.ZIP_BZIP2), "packed by another method than deflate"),
        (zipped(zipped(b"LIC_NO"), name="nald.zip"), NO_TABLE),
        (zipped(b"LIC_NO", name=f"../{nald.LICENCES}"), NO_TABLE),
        (zipped(b"LIC_NO", name=f"/etc/{nald.LICENCES}"), NO_TABLE),
    ],
    ids=["members", "LZMA", "bzip2", "a zip in the zip", "a step up", "a path"],
)
def test_a_zip_of_more_or_other_members_is_refused(folder: Folder, packed: bytes, reason: str) -> None:
    assert unpacking_is_refused(folder, packed, reason) == 0


def test_an_encrypted_table_is_refused(folder: Folder) -> None:
    packed = bytearray(zipped(b"LIC_NO\n1\n"))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    assert unpacking_is_refused(folder, bytes(packed), "is encrypted") == 0


def test_a_zip_is_downloaded_no_further_than_to_its_bound(folder: Folder, bounded: Callable[..., None]) -> None:
    bounded(packed=999)
    folder.objects[nald.ZIP] = zipped(bytes(1_000), zipfile.ZIP_STORED)
    with pytest.raises(Rejected, match=r"bytes of nald\.zip: more than 999 \(Bounds\.packed in functions/jobs/water"):
        nald.unpack(folder, DUE)


def test_a_table_without_room_waits_for_some(folder: Folder) -> None:
    usage = shutil.disk_usage("/")._replace(free=10)
    with patch.object(shutil, "disk_usage", lambda _: usage), pytest.raises(TryAgain, match="there is no room for the"):
        nald.unpack(folder, DUE)


@pytest.mark.parametrize(
    ("table", "bound", "most"),
    [
        (b"LIC_NO\n" + b"1" * 100, "row", 60),
        (b'LIC_NO\n"' + b"1\n" * 100, "row", 60),
        (b"LIC_NO,X\n1," + b'"\n",' * 100, "row", 60),
        (b"LIC_NO" + b",X" * 100, "row", 60),
        (b"LIC_NO\n" + b"1\n" * 5, "rows", 4),
        (b"LIC_NO\n" + b"1\n" * 5, "unpacked", 16),
        (b"LIC_NO," + b"X" * 40 + b"\n" + b"1,\n" * 10, "unpacked", 100),
    ],
    ids=["a line", "a field of lines", "fields of lines", "columns", "rows", "the table", "the queue made of it"],
)
def test_a_table_is_read_no_further_than_to_its_bounds(
    folder: Folder, bounded: Callable[..., None], table: bytes, bound: str, most: int
) -> None:
    bounded(**{bound: most})
    folder.objects[nald.csv_key(DUE)] = table
    with pytest.raises(Rejected, match=rf"more than {most} \(Bounds\.{bound} in "):
        nald.queue_licences(folder, DUE)
    assert nald.queue_key(DUE) not in folder.objects


def test_many_rows_are_no_long_row(folder: Folder, bounded: Callable[..., None]) -> None:
    bounded(row=60)
    folder.objects[nald.csv_key(DUE)] = b"LIC_NO\n" + b'"1\n2"\n' * 100
    assert nald.queue_licences(folder, DUE) == 100


def test_a_table_that_is_no_text_is_refused(folder: Folder) -> None:
    folder.objects[nald.csv_key(DUE)] = b"LIC_NO\n\xff\n"
    with pytest.raises(Rejected, match="is no CSV"):
        nald.queue_licences(folder, DUE)


def test_two_nights_keep_their_lists_apart() -> None:
    assert nald.queue_key(DUE) != nald.queue_key(DUE.replace(day=22))


class Files(Folder):
    """A bucket on disk, so that only the steps' own memory counts."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def _file(self, key: str) -> str:
        return f"{self.path}/{key.replace('/', '_')}"

    def download(self, key: str, file: BinaryIO) -> str:
        with open(self._file(key), "rb") as source:  # noqa: PTH123 - a story's own file
            while piece := source.read(1 << 16):
                file.write(piece)
        return "etag"

    def upload(self, key: str, file: BinaryIO) -> None:
        file.seek(0)
        with open(self._file(key), "wb") as target:  # noqa: PTH123 - a story's own file
            while piece := file.read(1 << 16):
                target.write(piece)


def test_memory_does_not_grow_with_the_list(tmp_path: object) -> None:
    def peak(number: int) -> int:
        files = Files(str(tmp_path))
        with open(files._file(nald.ZIP), "w+b") as file:  # noqa: PTH123 - a story's own file
            nald.pack((nald_import.example(n) for n in range(number)), nald_import.example(0), file)
        tracemalloc.start()
        nald.unpack(files, DUE)
        nald.queue_licences(files, DUE)
        assert sum(1 for _ in nald.queued(files, DUE)) == number
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(20_000) < peak(2_000) + 200_000
