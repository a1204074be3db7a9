"""Messages: the same bytes whenever they are sent, and nothing else is taken for one."""

import json
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.core.entry import LARGEST_PAYLOAD, LONGEST_KEY
from rollcall.core.errors import InvalidMessage
from rollcall.core.message import Message
from rollcall.core.run import RunRecord, RunState, iso, run_id
from rollcall.core.values import Json
from tests.hostile import bodies
from tests.unit.jobs import DUE, RUN_ID

SENT = Message(RUN_ID, generation=1, chunk=1, index=250, total=8_000, key="DEP-250", payload={"amount": "1.50"})
SEALED = RunRecord(RUN_ID, "client-deposit-update", RunState.RUNNING, DUE, DUE, nonce="n1", total=8_000)

texts = st.text(st.characters(exclude_categories=()))
#: What names an entry, or an effect.
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
payloads: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda values: st.lists(values) | st.dictionaries(texts, values),
    max_leaves=10,
)
numbers = st.integers(0, 10**9)
messages = st.builds(
    Message,
    run=st.just(RUN_ID),
    generation=numbers,
    chunk=numbers,
    index=numbers,
    total=numbers,
    key=names.filter(str.strip),
    payload=payloads,
    idempotency_key=st.none() | names,
    unanswered_since=st.none() | st.just(iso(DUE)),
    called_since=st.none() | st.just(iso(DUE)),
)


def body(**changed: object) -> str:
    """The body of SENT with some of its fields changed."""
    return json.dumps({**json.loads(SENT.body()), **changed})


def entry(**changed: object) -> str:
    """The body of SENT with some fields of its entry changed."""
    return body(entry={**json.loads(SENT.body())["entry"], **changed})


def without(name: str) -> str:
    return json.dumps({key: value for key, value in json.loads(SENT.body()).items() if key != name})


@given(messages)
def test_what_was_sent_is_what_arrives(message: Message) -> None:
    assert Message.parse(message.body()) == message


@given(messages)
def test_a_body_is_ascii_whatever_the_names_in_it(message: Message) -> None:
    assert message.body().isascii()


def test_the_order_of_a_payloads_keys_makes_no_other_message() -> None:
    one, other = replace(SENT, payload={"a": 1, "b": 2}), replace(SENT, payload={"b": 2, "a": 1})
    assert one.body() == other.body()


def test_a_body_is_what_it_was_when_the_format_was_agreed() -> None:
    assert replace(SENT, key="José", idempotency_key="T-1").body() == (
        '{"chunk":1,"entry":{"idempotency_key":"T-1","key":"Jos\\u00e9","payload":{"amount":"1.50"}},'
        '"generation":1,"index":250,"run":"client-deposit-update-20261121T023000Z","total":8000}'
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("hello", id="not JSON"),
        pytest.param(SENT.body()[:-1], id="cut off"),
        pytest.param("[" * 100_000, id="too deep"),
        pytest.param("null", id="null"),
        pytest.param("[]", id="a list"),
        pytest.param('"text"', id="a text"),
        *(pytest.param(without(name), id=f"no {name}") for name in json.loads(SENT.body())),
        pytest.param(body(run=1), id="run is a number"),
        pytest.param(body(run="deposits"), id="run is no run id"),
        pytest.param(body(run=f"{RUN_ID}-{'n' * 60}"), id="run is too long"),
        pytest.param(body(run=RUN_ID.replace("2026", "٢٠٢٦")), id="run in other digits"),
        *(
            pytest.param(body(**{name: wrong}), id=f"{name} is {wrong!r}")
            for name in ("generation", "chunk", "index", "total")
            for wrong in ("1", 1.0, True, None)
        ),
        pytest.param(body(entry=None), id="no entry"),
        pytest.param(body(entry=[]), id="entry is a list"),
        pytest.param(body(entry="key payload"), id="entry is a text"),
        pytest.param(body(entry={"payload": 1}), id="entry without key"),
        pytest.param(body(entry={"key": "DEP-1"}), id="entry without payload"),
        pytest.param(entry(key=1), id="key is a number"),
        pytest.param(entry(key=None), id="key is null"),
        pytest.param(entry(idempotency_key=7), id="idempotency key is a number"),
        pytest.param(entry(payload=float("nan")), id="NaN in the payload"),
        pytest.param(entry(payload=float("inf")), id="infinity in the payload"),
    ],
)
def test_any_other_text_is_no_message(text: str) -> None:
    with pytest.raises(InvalidMessage):
        Message.parse(text)


@given(st.text() | payloads.map(json.dumps))
def test_no_text_whatever_makes_parsing_fall_over(text: str) -> None:
    with pytest.raises(InvalidMessage):
        Message.parse(text)


def told(text: str) -> str | None:
    """Why the message of `text` is none of the sealed run's, or None."""
    try:
        message = Message.parse(text)
    except InvalidMessage as error:
        return str(error)
    return message.objection(SEALED) if message.run == SEALED.id else "another run's"


@pytest.mark.parametrize("text", bodies(SENT).values(), ids=bodies(SENT))
def test_what_strangers_send_is_no_message_of_the_run_and_that_is_told_in_a_line(text: str) -> None:
    assert 0 < len(told(text) or "") < 500


def test_what_is_longer_than_any_message_is_not_even_decoded() -> None:
    """A list of objects takes some twenty times its JSON's space."""
    text = "[" + ",".join(["{}"] * 340_000) + "]"
    tracemalloc.start()
    try:
        with pytest.raises(InvalidMessage, match="it has 1,020,001 characters"):
            Message.parse(text)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("character", ["k", "\x00", "é", "€", "🦊"])
def test_the_largest_entry_that_is_enumerated_makes_a_message(character: str) -> None:
    longest = character * LONGEST_KEY
    payload = "p" * (LARGEST_PAYLOAD - 2)
    message = replace(
        SENT, key=longest, payload=payload, idempotency_key=longest, unanswered_since=iso(DUE), called_since=iso(DUE)
    )
    assert Message.parse(message.body()) == message


def test_a_message_of_the_sealed_run_is_not_objected_to() -> None:
    assert SENT.objection(SEALED) is None


@pytest.mark.parametrize(("index", "chunk"), [(0, 0), (249, 0), (7_999, 31)])
def test_the_entries_at_the_edges_are_not_objected_to(index: int, chunk: int) -> None:
    assert replace(SENT, index=index, chunk=chunk).objection(SEALED) is None


@pytest.mark.parametrize(
    ("message", "objection"),
    [
        (replace(SENT, generation=2), "generation 2 is not the run's, 1"),
        (replace(SENT, total=8_001), "total 8001 is not the run's, 8000"),
        (replace(SENT, index=8_000, chunk=32), "index 8000 is outside of the run's 8000"),
        (replace(SENT, index=-1, chunk=-1), "index -1 is outside of the run's 8000"),
        (replace(SENT, chunk=0), "index 250 is not in chunk 0"),
    ],
)
def test_a_wrong_number_is_objected_to_before_anything_is_written(message: Message, objection: str) -> None:
    assert message.objection(SEALED) == objection


def test_a_run_that_was_never_sealed_has_sent_no_message() -> None:
    assert SENT.objection(replace(SEALED, nonce=None)) == "the run was never sealed"


def test_an_entity_is_in_one_group_over_all_runs_of_its_job() -> None:
    tomorrow = replace(SENT, run=SENT.run.replace("1121T", "1122T"), index=3, chunk=0, payload=None)
    assert tomorrow.group == SENT.group


@pytest.mark.parametrize("other", [replace(SENT, key="DEP-251"), replace(SENT, run=run_id("lsp-bill-update", DUE))])
def test_other_entities_and_other_jobs_never_wait_for_it(other: Message) -> None:
    assert other.group != SENT.group


@given(messages)
def test_a_group_is_a_name_that_sqs_takes(message: Message) -> None:
    assert message.group.isascii()
    assert len(message.group) == 64
