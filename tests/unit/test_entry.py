"""Entries: what a source may yield, and what the manifest keeps of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field, field_validator

from rollcall.core.entry import LARGEST_PAYLOAD, LONGEST_KEY, Entry, ManifestEntry, entry_id
from rollcall.core.errors import DeclarationError, InvalidEntry
from rollcall.core.payload import PayloadType
from rollcall.core.values import Json

ANYTHING = PayloadType(Any)


class Deposit(BaseModel):
    """A line of the report, by the report's names."""

    deposit_id: str = Field(alias="Deposit_ID")
    amount: Decimal = Field(alias="Amount")


LINE = {"Deposit_ID": "DEP-1", "Amount": "100.50"}


def rejection(
    key: object, payload: object = None, idempotency_key: Any = None, payloads: PayloadType = ANYTHING
) -> str:
    """Why an entry will not be called."""
    rejected = payloads.enumerated(Entry(key, payload, idempotency_key)).rejected
    assert rejected is not None
    return rejected


def called_with(annotation: Any, payload: object) -> Any:
    """What the callback gets, after the trip through manifest and queue, for what the source yields."""
    payloads = PayloadType(annotation)
    return payloads.build(payloads.checked(payload))


# --- Keys ---


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, "it has no key"),
        (7, "its key is of type int, not text: 7"),
        (True, "its key is of type bool, not text: True"),
        (["DEP-1"], "its key is of type list, not text: ['DEP-1']"),
        ("", "its key is empty"),
        (" \t", "its key is empty"),
        ("x" * 1_025, "its key has 1,025 characters; the most is 1,024"),
        ("DEP-\ud800", "its key holds half a character, which no service takes: 'DEP-\\ud800'"),
    ],
)
def test_an_entry_that_cannot_be_named_is_rejected_with_the_reason(key: object, reason: str) -> None:
    assert rejection(key) == reason


def test_the_reason_does_not_repeat_a_whole_record_that_was_given_as_key() -> None:
    assert len(rejection([7] * 10_000)) < 150


@pytest.mark.parametrize("key", ["DEP-1", "Zoë", "客户", "0", "x" * LONGEST_KEY, " DEP 1 "])
def test_any_text_can_be_a_key_and_stays_as_it_is(key: str) -> None:
    assert ANYTHING.enumerated(Entry(key, None)) == ManifestEntry(key, None)


def test_the_payload_of_an_entry_without_key_is_kept_for_people_to_look_at() -> None:
    assert ANYTHING.enumerated(Entry(None, LINE)).payload == LINE


def test_a_record_without_the_key_field_is_an_entry_without_key() -> None:
    assert Entry.of({"Amount": "1"}, key="Deposit_ID") == Entry(None, {"Amount": "1"})


def test_a_record_is_the_payload_of_its_own_entry() -> None:
    assert Entry.of(LINE, key="Deposit_ID") == Entry("DEP-1", LINE)


# --- Idempotency keys ---


@pytest.mark.parametrize("own", ["T-1", "x" * LONGEST_KEY, "überweisung", None])
def test_an_entry_may_bring_its_own_idempotency_key(own: str | None) -> None:
    assert ANYTHING.enumerated(Entry("DEP-1", None, own)).idempotency_key == own


@pytest.mark.parametrize("own", ["", "x" * 1_025, 7, b"T-1", "\udfff"], ids=["empty", "long", "int", "bytes", "half"])
def test_an_idempotency_key_that_cannot_be_sent_rejects_its_entry(own: object) -> None:
    assert "its idempotency key is not text of 1 to 1,024 characters" in rejection("DEP-1", idempotency_key=own)


# --- Payloads ---


def test_a_payload_is_checked_against_the_callbacks_annotation() -> None:
    reason = rejection("DEP-1", {"Amount": "much"}, payloads=PayloadType(Deposit))
    assert reason == "Deposit_ID: Field required; Amount: Input should be a valid decimal"


@pytest.mark.parametrize(("letters", "told"), [("abcde", ""), ("abcdefgh", "; and 3 more faults")])
def test_of_many_faults_the_first_five_are_told(letters: str, told: str) -> None:
    fault = "Input should be a valid integer, unable to parse string as an integer"
    expected = "; ".join(f"{number}: {fault}" for number in range(5)) + told
    assert rejection("DEP-1", list(letters), payloads=PayloadType(list[int])) == expected[:500]


def test_a_rejected_payload_is_kept_for_people_to_look_at() -> None:
    assert PayloadType(Deposit).enumerated(Entry("DEP-1", {"Amount": Decimal("1.5")})).payload == {"Amount": "1.5"}


class Coin:
    """Something that is no JSON."""

    def __str__(self) -> str:
        return "a coin"


def test_what_json_cannot_show_of_a_rejected_payload_is_shown_as_text() -> None:
    kept = PayloadType(Deposit).enumerated(Entry("DEP-1", {"paid": Coin()})).payload
    assert kept == {"paid": "a coin"}


def field_of(size: int) -> str:
    """A payload whose JSON has `size` bytes."""
    return "x" * (size - 2)


def test_a_payload_of_128_kb_is_taken() -> None:
    assert ANYTHING.checked(field_of(LARGEST_PAYLOAD)) == field_of(LARGEST_PAYLOAD)


@pytest.mark.parametrize("size", [LARGEST_PAYLOAD + 1, 2**20])
def test_a_payload_above_128_kb_is_too_large(size: int) -> None:
    reason = f"too large: its payload has {size:,} bytes of JSON; the most is 131,072"
    assert ANYTHING.enumerated(Entry("DEP-1", field_of(size))) == ManifestEntry("DEP-1", None, rejected=reason)


def test_the_size_of_a_payload_is_that_of_its_ascii_json() -> None:
    assert rejection("DEP-1", "é" * (LARGEST_PAYLOAD // 6 + 1)).startswith("too large")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("annotation", [Any, dict, dict[str, object], dict[str, float]], ids=str)
def test_what_json_has_no_number_for_is_rejected_and_never_null(annotation: Any, number: float) -> None:
    assert "not JSON" in rejection("DEP-1", {"amount": number}, payloads=PayloadType(annotation))


@pytest.mark.parametrize(
    "payload",
    [object(), {"at": b"\xff"}, {1: "one", "x": {2, 3}, None: object()}],
    ids=["an object", "bytes", "strange keys"],
)
def test_what_is_no_json_is_rejected(payload: object) -> None:
    assert "not JSON" in rejection("DEP-1", payload)


def test_a_payload_nested_too_deeply_rejects_its_entry_only() -> None:
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    assert "not JSON" in rejection("DEP-1", deep)


def test_text_that_no_service_takes_is_rejected() -> None:
    assert "cannot be built again" in rejection("DEP-1", {"client": "half a \ud83d"})


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_an_amount_reaches_the_callback_exactly(amount: Decimal) -> None:
    deposit = called_with(Deposit, {"Deposit_ID": "DEP-1", "Amount": amount})
    assert deposit.amount.as_tuple() == amount.as_tuple()


def test_a_report_may_name_fields_otherwise_than_the_code() -> None:
    assert called_with(Deposit, LINE) == Deposit.model_validate(LINE)


def test_a_source_may_yield_the_object_itself() -> None:
    assert called_with(Deposit, Deposit.model_validate(LINE)) == Deposit.model_validate(LINE)


def test_what_the_manifest_keeps_bears_the_reports_names() -> None:
    assert PayloadType(Deposit).checked(LINE) == LINE


class Renamed(BaseModel):
    """A model whose alias holds for reading only."""

    deposit_id: str = Field(validation_alias="Deposit_ID")


def test_an_alias_for_reading_only_reaches_the_callback() -> None:
    assert called_with(Renamed, {"Deposit_ID": "DEP-1"}).deposit_id == "DEP-1"


class Strict(BaseModel):
    """A model that takes nothing for anything else."""

    model_config = ConfigDict(strict=True)

    amount: Decimal
    paid_at: datetime
    waited: timedelta


def test_a_strict_model_reaches_the_callback() -> None:
    paid = Strict(amount=Decimal("1.50"), paid_at=datetime(2026, 1, 1, tzinfo=UTC), waited=timedelta(hours=3))
    assert called_with(Strict, paid) == paid


class Transfer(BaseModel):
    """A model of models."""

    deposits: list[Deposit]
    by_client: dict[str, Deposit]


def test_models_within_models_reach_the_callback() -> None:
    transfer = {"deposits": [LINE, LINE], "by_client": {"Zoë": LINE}}
    assert called_with(Transfer, transfer) == Transfer.model_validate(transfer)


@dataclass
class Donation:
    """A plain dataclass."""

    donor: str
    on: datetime
    amount: Decimal = Decimal(0)


def test_a_dataclass_reaches_the_callback() -> None:
    donation = Donation("Zoë", datetime(2026, 11, 21, tzinfo=UTC), Decimal("10.00"))
    assert called_with(Donation, donation) == donation


@pytest.mark.parametrize("annotation", [dict, dict[str, Any], Mapping[str, object], Any], ids=str)
def test_a_callback_may_take_the_plain_record(annotation: Any) -> None:
    record = {"id": 7, "name": "Zoë", "tags": ["a", None, 1.5, True], "nested": {"a": {}}}
    assert called_with(annotation, record) == record


class Forgetful(BaseModel):
    """A model that loses a field on the way."""

    secret: str = Field(exclude=True)


def test_what_the_worker_could_not_build_again_is_rejected_before_anybody_is_called() -> None:
    reason = rejection("DEP-1", {"secret": "x"}, payloads=PayloadType(Forgetful))
    assert reason == "its payload cannot be built again from its JSON: secret: Field required"


class Careless(BaseModel):
    """A model whose own validator has a bug."""

    bank: str

    @field_validator("bank")
    @classmethod
    def known(cls, bank: str) -> str:
        return {"HSBC": "GB"}[bank]


def test_a_bug_in_a_models_validator_rejects_the_entry_that_meets_it() -> None:
    reason = rejection("DEP-1", {"bank": "UBS"}, payloads=PayloadType(Careless))
    assert reason == "its payload cannot be checked: KeyError: 'UBS'"


class Summed(BaseModel):
    """A model whose own property has a bug."""

    parts: list[int]

    @computed_field  # type: ignore[prop-decorator] # https://github.com/python/mypy/issues/14461
    @property
    def first(self) -> int:
        return self.parts[0]


def test_a_bug_in_what_a_model_computes_rejects_the_entry_that_meets_it() -> None:
    reason = rejection("DEP-1", {"parts": []}, payloads=PayloadType(Summed))
    assert reason == "its payload is not JSON: IndexError: list index out of range"


class Unshowable:
    """Something that cannot even be shown."""

    def __str__(self) -> str:
        raise LookupError


def test_a_payload_that_cannot_be_shown_is_left_out() -> None:
    assert ANYTHING.enumerated(Entry(None, Unshowable())).payload is None


@pytest.mark.parametrize(("size", "kept"), [(LARGEST_PAYLOAD, True), (LARGEST_PAYLOAD + 1, False)])
def test_a_rejected_payload_is_kept_up_to_the_size_that_a_message_has(size: int, kept: bool) -> None:
    assert (ANYTHING.enumerated(Entry(None, field_of(size))).payload is not None) is kept


def test_a_type_that_nothing_can_be_checked_against_is_refused_where_it_is_declared() -> None:
    with pytest.raises(DeclarationError, match="take a pydantic model, a dataclass or a plain type"):
        PayloadType(Coin)


def test_faults_are_told_with_an_invalid_entry() -> None:
    with pytest.raises(InvalidEntry, match="Field required") as raised:
        PayloadType(Deposit).checked({})
    assert isinstance(raised.value.__cause__, ValidationError)


# --- The manifest's lines ---

texts = st.text(st.characters(exclude_categories=()))
values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=5,
)
lines = st.builds(
    ManifestEntry,
    st.none() | texts,
    values,
    idempotency_key=st.none() | texts,
    rejected=st.none() | texts,
    unanswered_since=st.none() | texts,
    called_since=st.none() | texts,
    indefinite=st.booleans(),
)


@given(lines)
def test_an_entry_survives_its_line_in_the_manifest(entry: ManifestEntry) -> None:
    assert ManifestEntry.from_fields(json.loads(entry.line())) == entry


@given(lines)
def test_a_line_is_one_line_of_ascii(entry: ManifestEntry) -> None:
    assert entry.line().isascii()
    assert entry.line().splitlines() == [entry.line()]


# --- Entry ids ---


def test_an_entry_has_the_same_id_in_every_place_of_the_list() -> None:
    assert entry_id("DEP-1", 0) == entry_id("DEP-1", 7_999)


def test_entries_without_key_are_told_apart_by_their_place() -> None:
    assert entry_id(None, 0) != entry_id(None, 1)


@given(texts, texts)
def test_different_keys_have_different_ids(one: str, other: str) -> None:
    assert (entry_id(one, 0) == entry_id(other, 0)) is (one == other)


@given(texts, st.integers(0, 10**6))
def test_no_key_has_the_id_of_an_entry_without_one(key: str, index: int) -> None:
    assert entry_id(key, index) != entry_id(None, index)
