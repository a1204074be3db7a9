"""What becomes of a transfer: a pure function of the seed, its reference and how often it was asked for."""

from dataclasses import dataclass
from enum import StrEnum

from tools.stand_ins.faults import fault


class Course(StrEnum):
    """How the bank takes one call. Where several would apply, the one that stands first here does."""

    #: Answered with 503, and nothing was done.
    ERROR = "error"
    #: Refused: so is every other call with this reference that is not an `ERROR`.
    REFUSED = "refused"
    #: Money is moved, and the connection closed without an answer.
    LOST = "lost"
    #: The connection is closed without an answer; the money is moved later.
    LATE = "late"
    #: Money is moved, and the answer comes much later.
    SILENT = "silent"
    #: Money is moved, and the caller told so.
    BOOKED = "booked"


@dataclass(frozen=True, slots=True)
class Rates:
    """The shares, from 0 to 1, of the calls that take a course; `refused` is one of the references."""

    error: float = 0
    refused: float = 0
    lost: float = 0
    late: float = 0
    silent: float = 0


def is_refused(seed: int, reference: str, rate: float) -> bool:
    """Whether a reference is among those that are always refused."""
    return _draw(Course.REFUSED, seed, reference, 0, rate)


def course(seed: int, reference: str, n: int, rates: Rates) -> Course:
    """The course of the `n`-th call (from 1) with a reference, given that it would have to be carried out."""
    if _draw(Course.ERROR, seed, reference, n, rates.error):
        return Course.ERROR
    if is_refused(seed, reference, rates.refused):
        return Course.REFUSED
    shares = {Course.LOST: rates.lost, Course.LATE: rates.late, Course.SILENT: rates.silent}
    drawn = (each for each, rate in shares.items() if _draw(each, seed, reference, n, rate))
    return next(drawn, Course.BOOKED)


def _draw(salt: Course, seed: int, reference: str, n: int, rate: float) -> bool:
    """Every course draws by itself: a call that is not lost is no likelier to be late."""
    return fault(seed, f"bank {salt}\n{reference}", n, rate)
