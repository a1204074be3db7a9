"""Numbers in payloads: a costly one rejects its entry before any arithmetic, and reaches no callback."""

from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest
from pydantic import BaseModel

from rollcall.core.entry import Entry
from rollcall.core.errors import InvalidEntry
from rollcall.core.numbers import LONGEST_NUMBER, MOST_EXPONENT, UNUSABLE_NUMBER, check_numbers
from rollcall.core.payload import PayloadType


class Level(IntEnum):
    LOW = 1


class Deposit(BaseModel):
    """With an amount as accountants want it."""

    amount: Decimal


class Counted(BaseModel):
    """With a whole number."""

    count: int


COSTLY = [
    Decimal("3e6000000"), Decimal("-3e6000000"), Decimal("3e-6000000"), Decimal("0e6000000"), Decimal("9" * 100_000),
    Decimal("Infinity"), Decimal("NaN"), UNUSABLE_NUMBER, 10**100_000, -(10**100_000), 10**400,
]  # fmt: skip


@pytest.mark.parametrize("annotation", [int, float, Decimal, bool, Level, int | str, Any, dict[str, int], Counted])
@pytest.mark.parametrize("number", COSTLY, ids=lambda number: type(number).__name__)
@pytest.mark.parametrize("around", ["", "object", "list"])
def test_a_costly_number_is_rejected_whatever_it_should_become(annotation: Any, number: object, around: str) -> None:
    payload = {"": number, "object": {"a": {"count": number}}, "list": [[{"count": number}]]}[around]
    with pytest.raises(InvalidEntry, match=r"LONGEST_NUMBER in rollcall\.core\.numbers\) or an exponent beyond 330"):
        PayloadType(annotation).checked(payload)


@pytest.mark.parametrize("text", ["3e6000000", "3E-6000000", "1e331", "9" * 5_000, "0." + "3" * 5_000])
def test_a_text_that_becomes_a_costly_number_is_rejected(text: str) -> None:
    """As in CSV, where all is text."""
    line = PayloadType(Deposit).enumerated(Entry("D00", {"amount": text}))
    assert line.rejected is not None
    assert "MOST_EXPONENT" in line.rejected


@pytest.mark.parametrize("text", ["3e6000000", "12E+999", "9" * 5_000])
def test_a_text_that_stays_one_may_look_like_any_number(text: str) -> None:
    assert PayloadType(dict[str, str]).checked({"id": text}) == {"id": text}


@pytest.mark.parametrize("text", ["3e6000000", "3E+6000000", "9" * 5_000])
def test_no_callback_gets_a_costly_number_out_of_a_message(text: str) -> None:
    """One that was forged, or dispatched by a release that had no bounds."""
    with pytest.raises(InvalidEntry, match="MOST_EXPONENT"):
        PayloadType(Deposit).build({"amount": text})


@pytest.mark.parametrize(
    "number",
    [
        f"1e{MOST_EXPONENT}",
        f"1e-{MOST_EXPONENT}",
        "9" * MOST_EXPONENT,
        "0." + "3" * (LONGEST_NUMBER - 2),
        "12.50",
        "-0.0",
        "1E+2",
    ],
    ids=lambda number: number[:9],
)
def test_a_number_within_the_bounds_keeps_its_value(number: str) -> None:
    deposit = PayloadType(Deposit)
    built = deposit.build(deposit.checked({"amount": Decimal(number)}))
    assert built.amount == Decimal(number)


def test_the_least_and_the_largest_doubles_are_within_the_bounds_also_written_out() -> None:
    for number in (5e-324, 1.7976931348623157e308, -2.2250738585072014e-308):
        check_numbers(Decimal(number))


def test_a_rejected_number_is_not_redriven_as_a_text() -> None:
    line = PayloadType(Any).enumerated(Entry("D00", {"amount": UNUSABLE_NUMBER}))
    assert line.payload is None


@pytest.mark.parametrize(
    "key",
    [10**100_000, -(10**100_000), [10**100_000], Decimal("3e6000000")],
    ids=["whole", "negative", "in a list", "decimal"],
)
def test_a_number_is_no_key_however_long_it_is(key: object) -> None:
    line = PayloadType(Any).enumerated(Entry(key, {}))
    assert line.rejected is not None
    assert line.rejected.startswith(f"its key is of type {type(key).__name__}, not text")
    own = PayloadType(Any).enumerated(Entry("D00", {}, key))  # type: ignore[arg-type]
    assert own.rejected is not None
    assert own.rejected.startswith("its idempotency key is not text")
