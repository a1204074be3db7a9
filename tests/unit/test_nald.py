"""The national list of licences: a zip that is taken apart, compared and written down, in flat memory."""

import io
import tracemalloc
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import BinaryIO

import pytest

from functions.jobs.water import _nald as nald
from functions.jobs.water import import_licence, nald_import
from rollcall import Rejected, Run

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
