"""Numbers that are cheap to handle: a few characters must not cost minutes of arithmetic."""

import re
from decimal import Decimal

from rollcall.core.errors import InvalidEntry

#: Characters of a number. Every double, written out in full, has at most 1,077: `-0.` and 1,074 digits of 2^-1074.
LONGEST_NUMBER = 1_100
#: Decimal exponent of a number, up or down. Doubles reach from 10^-324 to 10^308.
MOST_EXPONENT = 330
#: Stands for a number that is longer or reaches further. Arithmetic, comparison and conversion raise on a signalling
#: NaN, and no payload may hold one; a source that does not use the number is not disturbed.
UNUSABLE_NUMBER = Decimal("sNaN")
UNUSABLE_REASON = (
    f"one of its numbers is none, has more than {LONGEST_NUMBER:,} characters (LONGEST_NUMBER in "
    f"rollcall.core.numbers) or an exponent beyond {MOST_EXPONENT} (MOST_EXPONENT); such a number can only be text"
)

_MOST_BITS = (10 ** (MOST_EXPONENT + 1)).bit_length()
_NO_NUMBERS = frozenset({str, float, bool, type(None)})
_SEVERAL = (list, tuple, set, frozenset)
_LONG = re.compile(rf"(?<![0-9.])[0-9.]{{{LONGEST_NUMBER}}}")
_FAR = re.compile(r"[eE][-+]?[0-9]{3}")
#: As Python writes a Decimal.
_FAR_DECIMAL = re.compile(r"E[-+][0-9]{3}")


def is_usable(number: Decimal) -> bool:
    """Whether `number` is finite and within both bounds."""
    return number.is_finite() and abs(number.adjusted()) <= MOST_EXPONENT and len(str(number)) <= LONGEST_NUMBER


def check_numbers(value: object) -> None:
    """Raise InvalidEntry if `value`, or a dict or list within it, holds a number beyond the bounds.

    Pydantic makes an int of a Decimal in time that grows with the square of its exponent: hours for 3E+6000000.
    """
    if isinstance(value, dict):
        for member in value.values():
            if type(member) not in _NO_NUMBERS:
                check_numbers(member)
    elif isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            raise InvalidEntry(UNUSABLE_REASON)
    elif isinstance(value, Decimal):
        if not is_usable(value):
            raise InvalidEntry(UNUSABLE_REASON)
    elif isinstance(value, _SEVERAL):
        for member in value:
            if type(member) not in _NO_NUMBERS:
                check_numbers(member)


def may_hold_unusable(text: str, *, own: bool) -> bool:
    """Whether JSON may hold a number beyond the bounds, also one written as text: a quick look, which errs.

    `own` says that the numbers in it were written by Python.
    """
    far = _FAR_DECIMAL if own else _FAR
    return far.search(text) is not None or (len(text) > LONGEST_NUMBER and _LONG.search(text) is not None)
