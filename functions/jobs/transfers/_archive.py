"""An archive of a table's rows in CSV files: no crash loses or duplicates a row.

The files of one folder are numbered. A move verifies each file and deletes its rows from the table, each only if it is
unchanged. Then it writes the remaining rows to the next number, unless such a file exists. It repeats both until no
row is left. So

* a file is never written over: a repetition that finds half of its rows deleted does not shorten it;
* a row is never in two files: when one is written, the rows of all before it are gone, and the table is read as it
  stands, not by an index that lags behind;
* no row is deleted that is not, just so, in a file that was read back: row count and SHA-256 are those that the file
  was added with.

This also holds for two moves at once: only one adds a number, and deleting the rows of a verified file is harmless.
"""

import csv
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from io import TextIOWrapper
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, Any

from rollcall import ConditionFailed, Items, Objects, Rejected, TryAgain

#: Requests to the table at the same time.
AT_ONCE = 8
#: Rows that are in memory at the same time.
_TOGETHER = 200
_PIECE = 1 << 20
#: Characters of one cell; a DynamoDB item has 400 KB.
_LONGEST_CELL = 400 * 1024
_NUMBERED = re.compile(r"(\d{4})\.csv")

#: An attribute's name, and whether it is text or a number.
Columns = Mapping[str, type[str] | type[Decimal]]
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Facts:
    """The row count and digest that a file is verified by."""

    rows: int
    sha256: str

    def texts(self) -> dict[str, str]:
        return {"rows": str(self.rows), "sha256": self.sha256}


class Archive:
    """One folder of CSV files with the rows of one table.

    `columns` are all attributes that the table's items may have."""

    def __init__(self, objects: Objects, folder: str, items: Items, key: str, columns: Columns) -> None:
        self._objects = objects
        self._folder = folder
        self._items = items
        self._key = key
        self._columns = columns

    def move(self, found: Callable[[], Iterable[Mapping[str, Any]]]) -> int:
        """Move rows until `found`, which reads the table, finds none; return their number.

        Raises TryAgain for a file that is not what was written, and Rejected for a row that a file cannot hold.
        """
        moved = 0
        while True:
            last = self._delete_what_files_hold()
            with TemporaryFile() as file:
                facts = self._write(file, found())
                if facts.rows == 0:
                    return moved
                if self._objects.add(f"{self._folder}/{last + 1:04}.csv", file, facts.texts()):
                    moved += facts.rows

    def _delete_what_files_hold(self) -> int:
        """Returns the last file's number; 0 where there is none."""
        last = 0
        for key in list(self._objects.keys(f"{self._folder}/")):
            if numbered := _NUMBERED.fullmatch(key.removeprefix(f"{self._folder}/")):
                last = int(numbered[1])
                self._delete(key)
        return last

    def _delete(self, key: str) -> None:
        with TemporaryFile() as file:
            self._objects.download(key, file)
            facts, wanted = self._facts(file), dict(self._objects.facts(key))
            if facts.texts() != {name: wanted.get(name) for name in facts.texts()}:
                raise TryAgain(
                    f"{key} has {facts.rows} rows and SHA-256 {facts.sha256}, and was written with {wanted}; nothing "
                    f"of it is deleted: restore its first version, or move it away and have its rows archived anew"
                )
            for _ in at_once(self._delete_row, self._rows(file)):
                pass

    def _delete_row(self, row: Row) -> None:
        """Unless it has changed: then it stays, as another row."""
        names = {f"#c{number}": column for number, column in enumerate(self._columns)}
        values: dict[str, object] = {":empty": ""} if "" in row.values() else {}
        values |= {f":{name[1:]}": self._columns[column](row[column]) for name, column in names.items() if row[column]}
        there = [f"{name} = :{name[1:]}" for name, column in names.items() if row[column]]
        # A cell that is empty was an empty text, or not there.
        gone = [
            f"(attribute_not_exists({name}) OR {name} = :empty)" for name, column in names.items() if not row[column]
        ]
        try:
            self._items.delete_item(
                Key={self._key: row[self._key]},
                ConditionExpression=" AND ".join((*there, *gone)),
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except ConditionFailed:
            return

    # --- files ---

    def _write(self, file: IO[bytes], found: Iterable[Mapping[str, Any]]) -> Facts:
        with _as_text(file) as text:
            writer = csv.writer(text)
            writer.writerow(self._columns)
            for item in found:
                self._check(item)
                writer.writerow([item.get(column, "") for column in self._columns])
        return self._facts(file)

    def _check(self, item: Mapping[str, Any]) -> None:
        unknown = [name for name, value in item.items() if type(value) is not self._columns.get(name)]
        if unknown:
            raise Rejected(
                f"{item[self._key]} has attributes that its archive has no column for: "
                f"{', '.join(sorted(unknown))}; add them to the columns, or mend the row"
            )

    def _facts(self, file: IO[bytes]) -> Facts:
        file.seek(0)
        digest = hashlib.sha256()
        while piece := file.read(_PIECE):
            digest.update(piece)
        return Facts(sum(1 for _ in self._rows(file)), digest.hexdigest())

    def _rows(self, file: IO[bytes]) -> Iterator[Row]:
        file.seek(0)
        csv.field_size_limit(_LONGEST_CELL)
        with _as_text(file) as text:
            yield from csv.DictReader(text, strict=True)


class _as_text:  # noqa: N801 - reads as the context manager that it is
    """The file as text; it stays open afterwards."""

    def __init__(self, file: IO[bytes]) -> None:
        self._text = TextIOWrapper(file, encoding="utf-8", newline="")

    def __enter__(self) -> TextIOWrapper:
        return self._text

    def __exit__(self, *_: object) -> None:
        self._text.detach()


def at_once(function: Callable[[Any], Any], of: Iterable[Any]) -> Iterator[Any]:
    """Yield the results of `function` in order, with few calls at a time to bound the memory."""
    each = iter(of)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        while some := list(islice(each, _TOGETHER)):
            yield from threads.map(function, some)
