"""What the bank stand-in remembers, in this process and the next."""

import json
from pathlib import Path

import pytest

from tools.stand_ins.books import Booking, Books, Transfer
from tools.stand_ins.options import OptionsError


def booking(reference: str, number: int = 1, *, refused: bool = False, key: str | None = None) -> Booking:
    sent = {"reference": reference, "from": "a", "to": "b", "amount": "10.50", "currency": "EUR", "note": "Zoë"}
    return Booking(
        id=f"tr-{number}",
        transfer=Transfer.model_validate(sent),
        status="refused" if refused else "booked",
        at=1_800_000_000.123456,
        shows_at=1_800_000_030.1,
        answer_at=1_800_000_030.2,
        key=key,
        answer_status=422 if refused else 201,
        answer_body={"error": "insufficient_funds"} if refused else {"id": f"tr-{number}", "status": "booked"},
    )


BOOKINGS = [
    booking("rent", 1, key="k-1"),
    booking("gas", 2, refused=True, key="k-2"),
    booking("rent", 3),
    booking("water", 4, key="k-1"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "books.jsonl"


def written(path: Path | None, bookings: list[Booking]) -> Books:
    books = Books(path)
    for each in bookings:
        books.write(each)
    return books


@pytest.mark.parametrize("is_read_again", [False, True])
def test_what_was_written_is_there_in_this_process_and_the_next(path: Path, is_read_again: bool) -> None:
    books = written(path, BOOKINGS)
    if is_read_again:
        books.close()
        books = Books(path)
    assert len(books) == 4
    assert books.of("rent") == [BOOKINGS[0], BOOKINGS[2]]
    assert books.of("gas") == [BOOKINGS[1]]
    assert books.of("phone") == ()
    assert books.by_key("k-1") == BOOKINGS[3]
    assert books.by_key("k-2") == BOOKINGS[1]
    assert books.by_key("k-3") is None
    assert books.stats(now=1_800_000_000.2) == {
        "movements": 3,
        "to_come": 3,
        "movements_per_reference": {1: 1, 2: 1},
        "moved_twice": ["rent"],
        "refused": 1,
    }
    assert books.stats(now=1_800_000_031)["to_come"] == 0
    books.close()


def test_a_line_is_in_the_file_before_write_returns(path: Path) -> None:
    books = Books(path)
    for number, each in enumerate(BOOKINGS, start=1):
        books.write(each)
        lines = path.read_text().splitlines()
        assert len(lines) == number
        assert json.loads(lines[-1])["id"] == f"tr-{number}"
    assert json.loads(path.read_text().splitlines()[0])["transfer"]["from"] == "a"
    books.close()


def test_nothing_that_was_written_before_is_ever_changed(path: Path) -> None:
    written(path, BOOKINGS[:2]).close()
    before = path.read_bytes()
    written(path, BOOKINGS[2:]).close()
    assert path.read_bytes().startswith(before)
    assert path.read_bytes().count(b"\n") == 4


def test_a_line_without_its_end_was_never_answered_and_goes(path: Path) -> None:
    written(path, BOOKINGS[:2]).close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:50])
    books = written(path, BOOKINGS[2:])
    assert len(books) == 4
    books.close()
    assert path.read_bytes().startswith(whole)
    books = Books(path)
    assert len(books) == 4
    books.close()


def test_a_file_that_holds_anything_else_is_refused_with_its_line(path: Path) -> None:
    written(path, BOOKINGS[:1]).close()
    before = path.read_bytes() + b'{"id": "tr-2"}\n'
    path.write_bytes(before)
    with pytest.raises(OptionsError, match=r"^bank_books: .*books\.jsonl: line 2 is no booking$"):
        Books(path)
    assert path.read_bytes() == before


def test_a_file_is_open_in_one_place_at_a_time(path: Path) -> None:
    books = Books(path)
    with pytest.raises(OptionsError, match="another process has these books open"):
        Books(path)
    books.close()
    Books(path).close()


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=r"^bank_books: "):
        Books(tmp_path / "missing" / "books.jsonl")


def test_at_most_twenty_references_that_moved_twice_are_named() -> None:
    books = written(None, [booking(f"rent-{n % 30}", n) for n in range(90)])
    stats = books.stats(now=0)
    assert stats["moved_twice"] == [f"rent-{n}" for n in range(20)]
    assert stats["movements_per_reference"] == {3: 30}


@pytest.mark.parametrize(
    "change",
    [{"reference": ""}, {"amount": "-1"}, {"amount": 10}, {"amount": "ten"}, {"currency": None}],
)
def test_what_is_no_transfer_is_refused(change: dict[str, object]) -> None:
    sent = {"reference": "rent", "from": "a", "to": "b", "amount": "10", "currency": "EUR"}
    assert Transfer.model_validate_json(json.dumps(sent)).from_ == "a"
    with pytest.raises(ValueError, match="validation error"):
        Transfer.model_validate_json(json.dumps(sent | change))


def test_two_transfers_are_equal_only_if_everything_that_was_sent_is() -> None:
    sent = {"reference": "rent", "from": "a", "to": "b", "amount": "10", "currency": "EUR"}
    one, again, other, further = (
        Transfer.model_validate(each)
        for each in (sent, dict(reversed(sent.items())), sent | {"amount": "11"}, sent | {"note": "x"})
    )
    assert one == again
    assert one != other
    assert one != further
