"""What the bank did and does not forget: a line for every transfer that it carried out, in a file if it has one."""

import fcntl
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tools.stand_ins.options import OptionsError

_MOST_NAMED = 20


class Transfer(BaseModel):
    """What a caller asks for. Two are equal if everything that was sent is, further keys included."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    reference: str = Field(min_length=1)
    from_: str = Field(alias="from")
    to: str
    amount: str = Field(pattern=r"^\d+(\.\d+)?$")
    currency: str


class Booking(BaseModel):
    """A transfer that was carried out, and its answer. Times are seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str
    transfer: Transfer
    #: `refused` moved no money.
    status: Literal["booked", "refused"]
    #: When the call came.
    at: float
    #: From when on it shows: later than `at` if it is booked late.
    shows_at: float
    #: From when on the same key gets the answer; before, the first call is in progress.
    answer_at: float
    #: The key it came with, if the bank knows keys.
    key: str | None
    answer_status: int
    answer_body: dict[str, JsonValue]


class Books:
    """Nothing in them is ever changed. One process at a time has a file open. Raises OptionsError."""

    def __init__(self, path: Path | None) -> None:
        self._of: dict[str, list[Booking]] = {}
        self._by_key: dict[str, Booking] = {}
        self._movements_of: Counter[str] = Counter()
        self._moved_twice: list[str] = []
        self._late: list[float] = []
        self._size = 0
        self._file = None if path is None else self._open(path)

    def __len__(self) -> int:
        return self._size

    def of(self, reference: str) -> Sequence[Booking]:
        """What was carried out under a reference, in the order in which it came."""
        return self._of.get(reference, ())

    def by_key(self, key: str) -> Booking | None:
        """The latest that came with a key."""
        return self._by_key.get(key)

    def write(self, booking: Booking) -> None:
        """One line, out of this process before this returns, so that no answer tells of what could be forgotten."""
        if self._file is not None:
            self._file.write(booking.model_dump_json(by_alias=True).encode() + b"\n")
            self._file.flush()
        self._keep(booking)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def stats(self, now: float) -> dict[str, Any]:
        """Counted over all processes that had the file; movements from the time on when they cannot be undone.

        `to_come`: how many of the movements do not show yet.
        """
        movements = self._movements_of.total()
        return {
            "movements": movements,
            "to_come": sum(shows_at > now for shows_at in self._late),
            "movements_per_reference": dict(sorted(Counter(self._movements_of.values()).items())),
            "moved_twice": self._moved_twice[:_MOST_NAMED],
            "refused": self._size - movements,
        }

    def _keep(self, booking: Booking) -> None:
        self._size += 1
        self._of.setdefault(booking.transfer.reference, []).append(booking)
        if booking.key is not None:
            self._by_key[booking.key] = booking
        if booking.status == "booked":
            self._keep_movement(booking)

    def _keep_movement(self, booking: Booking) -> None:
        reference = booking.transfer.reference
        self._movements_of[reference] += 1
        if self._movements_of[reference] == 2:
            self._moved_twice.append(reference)
        if booking.shows_at > booking.at:
            self._late.append(booking.shows_at)

    def _open(self, path: Path) -> BinaryIO:
        try:
            file = path.open("a+b")
        except OSError as error:
            raise OptionsError(f"bank_books: {error}") from None
        try:
            self._read(file)
        except (OSError, OptionsError) as error:
            file.close()
            raise OptionsError(f"bank_books: {path}: {error}") from None
        return file

    def _read(self, file: BinaryIO) -> None:
        """What stands after the last end of line was never answered: whoever wrote it did not live to."""
        _lock(file)
        file.seek(0)
        whole = 0
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                self._keep(Booking.model_validate_json(line))
            except ValidationError:
                raise OptionsError(f"line {number} is no booking") from None
        file.truncate(whole)


def _lock(file: BinaryIO) -> None:
    """Until the file is closed or the process ends, however it does."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OptionsError("another process has these books open") from None
