"""How large a report may be, in each of its parts."""

from dataclasses import dataclass, fields

from rollcall.core.errors import DeclarationError

KIB, MIB, GIB = 1024, 1024**2, 1024**3
#: Bytes of a report that may be unpacked from any number of bytes: little reports of like records pack very well.
UNPACKED_FREELY = 16 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on a report, beyond which its run is refused before anybody is called.

    They hold for every format. Fan-out has 1,769 MB and holds one record at a time: a record of 1 MiB that is written
    to cost memory, such as one of empty lists, takes about 25 MB, and as much again for each copy of it.
    """

    #: Bytes, unpacked. A million records of 4 KiB.
    total: int = 4 * GIB
    #: Bytes of one record: an item of the array, a line, or a row. Eight times the largest payload.
    record: int = 1 * MIB
    #: Bytes of one text, quoted as it is in the report. The parser's time grows with the square of it.
    string: int = 1 * MIB
    #: Objects and arrays within each other, the array of records included.
    nesting: int = 64
    #: Bytes unpacked for each byte that was sent, once more than 16 MiB are unpacked. Reports pack to a tenth, very
    #: uniform ones to a fiftieth; gzip's most is 1,032.
    ratio: int = 200

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise DeclarationError(f"Limits({field.name}={getattr(self, field.name)}): a limit is positive")
