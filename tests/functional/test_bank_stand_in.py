"""The stand-in of a bank: its stories on a virtual clock, and the real process over real sockets."""

import http.client
import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.functional.stand_ins_in_process import Answer, Call, InProcess, VirtualClock
from tools.cli.stand_ins import StandIns, StandInsError
from tools.stand_ins.bank_faults import Course, Rates, course, is_refused

Start = Callable[..., "Caller"]


def transfer(reference: str, **changes: object) -> bytes:
    sent = {"reference": reference, "from": "IE-1", "to": "IE-2", "amount": "10.50", "currency": "EUR"}
    return json.dumps(sent | changes).encode()


class Caller(InProcess):
    """A caller of the bank."""

    def begin_post(self, reference: str, key: str | None = None, **changes: object) -> Call:
        headers = {} if key is None else {"Idempotency_Key": key}
        return self.begin("POST", "/bank/transfers", transfer(reference, **changes), **headers)

    def post(self, reference: str, key: str | None = None, **changes: object) -> Call:
        call = self.begin_post(reference, key, **changes)
        self.clock.advance(0.05)
        return call

    def post_answered(self, reference: str, key: str | None = None, **changes: object) -> tuple[int, Any]:
        answer = answered(self.post(reference, key, **changes))
        return answer.status, answer.body

    def probe(self, reference: str) -> dict[str, Any]:
        body: dict[str, Any] = answered(self.call("GET", f"/bank/transfers?reference={quote(reference)}")).body
        return body

    def movements(self, reference: str) -> int:
        return len(self.probe(reference)["transfers"])

    def bank_stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self.stats()["bank"]
        return stats


def answered(call: Call) -> Answer:
    assert call.answer is not None
    return call.answer


def status(call: Call) -> int:
    return answered(call).status


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Caller] = []

    def start(clock: VirtualClock | None = None, **options: object) -> Caller:
        started.append(Caller(clock, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


# --- Moving money ---


def test_a_transfer_is_booked_after_the_latency_and_shows_in_a_probe(start: Start) -> None:
    bank = start()
    call = bank.begin_post("rent 1/ü")
    bank.clock.advance(0.049)
    assert call.is_waiting
    bank.clock.advance(0.001)
    assert (status(call), answered(call).body) == (201, {"id": "tr-1", "status": "booked"})
    assert bank.probe("rent 1/ü") == {
        "transfers": [{"id": "tr-1", "reference": "rent 1/ü", "status": "booked"}],
        "refused": [],
    }
    assert bank.probe("rent 2") == {"transfers": [], "refused": []}


def test_money_moves_even_if_the_caller_does_not_wait_for_the_answer(start: Start) -> None:
    bank = start()
    bank.begin_post("rent").hang_up()
    assert bank.movements("rent") == 1


def test_without_keys_every_call_moves_money_whatever_header_comes(start: Start) -> None:
    bank = start(bank_keys=False)
    assert [bank.post_answered("rent", key="k")[1]["id"] for _ in range(3)] == ["tr-1", "tr-2", "tr-3"]
    bank.post("gas")
    assert bank.movements("rent") == 3
    stats = bank.bank_stats()
    assert (stats["posts"], stats["probes"], stats["movements"]) == (4, 1, 4)
    assert stats["movements_per_reference"] == {"1": 1, "3": 1}
    assert stats["moved_twice"] == ["rent"]


def test_without_the_header_every_call_moves_money(start: Start) -> None:
    bank = start(bank_keys=True)
    assert [bank.post_answered("rent")[0] for _ in range(2)] == [201, 201]
    assert bank.movements("rent") == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/bank/transfers", b"", 400),
        ("POST", "/bank/transfers", b"[]", 400),
        ("POST", "/bank/transfers", transfer("rent", amount=10.5), 400),
        ("GET", "/bank/transfers", b"", 400),
        ("GET", "/bank/transfers?reference=a&reference=b", b"", 400),
        ("GET", "/bank/accounts", b"", 404),
        ("DELETE", "/bank/transfers", b"", 404),
    ],
)
def test_what_the_bank_does_not_understand_moves_nothing(
    start: Start, method: str, path: str, body: bytes, expected: int
) -> None:
    bank = start()
    assert status(bank.call(method, path, body)) == expected
    stats = bank.bank_stats()
    assert (stats["movements"], stats["bad_requests"]) == (0, int(expected == 400))


# --- Keys ---


def test_a_key_moves_money_once_and_gets_the_first_answer_again(start: Start) -> None:
    bank = start()
    first = bank.post_answered("rent", "k-1")
    assert [bank.post_answered("rent", "k-1") for _ in range(3)] == [first] * 3 == [(201, first[1])] * 3
    assert bank.post_answered("rent", "k-2") == (201, {"id": "tr-2", "status": "booked"})
    stats = bank.bank_stats()
    assert (stats["movements"], stats["replayed"], stats["moved_twice"]) == (2, 3, ["rent"])


def test_a_refusal_is_stored_too(start: Start) -> None:
    bank = start(bank_refusal_rate=1)
    expected = 422, {"error": "insufficient_funds"}
    assert [bank.post_answered("rent", "k") for _ in range(3)] == [expected] * 3
    refused = {"id": "tr-1", "reference": "rent", "status": "refused", "error": "insufficient_funds"}
    assert bank.probe("rent") == {"transfers": [], "refused": [refused]}
    stats = bank.bank_stats()
    assert (stats["refused"], stats["movements"], stats["movements_per_reference"]) == (1, 0, {})


def test_while_the_first_call_is_worked_on_the_same_key_is_in_progress(start: Start) -> None:
    bank = start()
    first = bank.begin_post("rent", "k")
    bank.clock.advance(0.01)
    second = bank.begin_post("rent", "k")
    bank.clock.advance(0.04)
    third = bank.begin_post("rent", "k")
    bank.clock.advance(0.05)
    assert [status(each) for each in (first, second, third)] == [201, 409, 201]
    assert answered(second).body == {"error": "in_progress"}
    assert answered(third) == answered(first)
    stats = bank.bank_stats()
    assert (stats["movements"], stats["in_progress"]) == (1, 1)


@pytest.mark.parametrize("changes", [{"amount": "10.51"}, {"to": "IE-3"}, {"reference": "gas"}, {"note": "x"}])
def test_a_key_with_another_body_is_refused_and_moves_nothing(start: Start, changes: dict[str, str]) -> None:
    bank = start()
    bank.post("rent", "k")
    body = json.dumps(json.loads(transfer("rent")) | changes).encode()
    call = bank.call("POST", "/bank/transfers", body, Idempotency_Key="k")
    assert (status(call), answered(call).body) == (422, {"error": "key_reused"})
    stats = bank.bank_stats()
    assert (stats["movements"], stats["key_reused"], stats["refused"]) == (1, 1, 0)


def test_the_same_body_in_other_bytes_is_the_same(start: Start) -> None:
    bank = start()
    bank.post("rent", "k")
    turned = dict(reversed(json.loads(transfer("rent")).items()))
    call = bank.call("POST", "/bank/transfers", json.dumps(turned, indent=2).encode(), Idempotency_Key="k")
    assert (status(call), answered(call).body["id"]) == (201, "tr-1")


def test_a_key_is_forgotten_after_its_window_and_then_moves_money_again(start: Start) -> None:
    bank = start(bank_key_window_s=100)
    bank.post("rent", "k")
    bank.clock.advance(99.94)
    assert bank.post_answered("rent", "k")[1]["id"] == "tr-1"
    assert bank.post_answered("rent", "k")[1]["id"] == "tr-2"
    # The window runs from the second movement now.
    assert bank.post_answered("rent", "k")[1]["id"] == "tr-2"
    assert bank.bank_stats()["moved_twice"] == ["rent"]


# --- Faults ---


def test_an_error_moves_nothing_and_is_not_stored(start: Start) -> None:
    rates = Rates(error=0.5)
    reference = next(
        each
        for each in map("rent-{}".format, range(100))
        if [course(3, each, n, rates) for n in (1, 2)] == ["error", "booked"]
    )
    bank = start(bank_error_rate=0.5, seed=3)
    assert bank.post_answered(reference, "k")[0] == 503
    assert bank.movements(reference) == 0
    assert bank.post_answered(reference, "k") == (201, {"id": "tr-1", "status": "booked"})
    assert bank.bank_stats()["errors"] == 1


def test_a_lost_answer_closes_the_connection_after_money_moved(start: Start) -> None:
    bank = start(bank_lost_rate=1)
    call = bank.begin_post("rent", "k")
    bank.clock.advance(0.049)
    assert call.is_waiting
    bank.clock.advance(0.001)
    assert call.was_hung_up_on
    assert bank.movements("rent") == 1
    # The key gets the answer that nobody got.
    assert bank.post_answered("rent", "k") == (201, {"id": "tr-1", "status": "booked"})
    assert bank.post("rent", "another").was_hung_up_on
    stats = bank.bank_stats()
    assert (stats["lost"], stats["movements"], stats["replayed"]) == (2, 2, 1)


def test_a_late_booking_shows_only_later_and_is_in_progress_until_then(start: Start) -> None:
    bank = start(bank_late_rate=1, bank_late_s=30)
    assert bank.post("rent", "k").was_hung_up_on
    assert bank.probe("rent") == {"transfers": [], "refused": []}
    assert bank.post_answered("rent", "k") == (409, {"error": "in_progress"})
    assert (bank.bank_stats()["to_come"], bank.bank_stats()["movements"]) == (1, 1)
    bank.clock.advance(29.84)
    assert bank.movements("rent") == 0
    bank.clock.advance(0.01)
    assert bank.movements("rent") == 1
    assert bank.post_answered("rent", "k") == (201, {"id": "tr-1", "status": "booked"})
    stats = bank.bank_stats()
    assert (stats["late"], stats["to_come"], stats["movements"], stats["in_progress"]) == (1, 0, 1, 1)


def test_who_asks_again_without_a_key_before_a_late_booking_moves_money_twice(start: Start) -> None:
    bank = start(bank_late_rate=1, bank_late_s=30, bank_keys=False)
    bank.post("rent")
    bank.post("rent")
    assert bank.bank_stats()["moved_twice"] == ["rent"]
    bank.clock.advance(31)
    assert bank.movements("rent") == 2


def test_a_silent_answer_comes_at_last_and_the_money_moved_long_before(start: Start) -> None:
    bank = start(bank_silent_rate=1, bank_silent_s=60)
    call = bank.begin_post("rent", "k")
    bank.clock.advance(1)
    assert bank.movements("rent") == 1
    assert bank.post_answered("rent", "k")[0] == 409
    bank.clock.advance(60.04 - 1.1)
    assert call.is_waiting
    bank.clock.advance(0.02)
    assert status(call) == 201
    assert bank.post_answered("rent", "k") == (201, answered(call).body)
    assert bank.bank_stats()["silent"] == 1


def test_every_reference_takes_the_course_that_was_drawn_for_it_in_any_order(start: Start) -> None:
    options = {f"bank_{each}_rate": 0.2 for each in ("error", "refusal", "lost", "late", "silent")}
    rates = Rates(error=0.2, refused=0.2, lost=0.2, late=0.2, silent=0.2)
    references = [f"rent-{n}" for n in range(200)]

    def outcome(call: Call) -> object:
        return None if call.was_hung_up_on else "waits" if call.is_waiting else status(call)

    one, other = start(seed=5, **options), start(seed=5, **options)
    found = {each: [outcome(one.post(each)) for _ in range(3)] for each in references}
    turned: dict[str, list[object]] = {each: [] for each in references}
    for _ in range(3):
        for each in reversed(references):
            turned[each].append(outcome(other.post(each)))
    meant = {
        Course.ERROR: 503,
        Course.REFUSED: 422,
        Course.LOST: None,
        Course.LATE: None,
        Course.SILENT: "waits",
        Course.BOOKED: 201,
    }
    expected = {each: [meant[course(5, each, n, rates)] for n in (1, 2, 3)] for each in references}
    assert found == turned == expected
    stats = one.bank_stats()
    assert stats == other.bank_stats() | {"moved_twice": stats["moved_twice"]}
    drawn = [course(5, each, n, rates) for each in references for n in (1, 2, 3)]
    counted = [stats[each] for each in ("errors", "refused", "lost", "late", "silent")]
    assert counted == [drawn.count(each) for each in list(Course)[:5]]
    assert stats["movements"] == 600 - stats["errors"] - stats["refused"]


# --- Outage, limit, credentials, forbidden: bank and target ---


def test_with_its_call_the_bank_goes_down_for_a_time_probes_too(start: Start) -> None:
    bank = start(bank_outage_after_calls=3, bank_outage_s=10)
    assert bank.post_answered("rent-1")[0] == 201
    assert bank.movements("rent-1") == 1
    assert bank.post_answered("rent-2")[0] == 201
    assert bank.post_answered("rent-3") == (503, {"error": "outage"})
    assert status(bank.call("GET", "/bank/transfers?reference=rent-1")) == 503
    # The target is another system.
    assert status(bank.call("POST", "/target/1")) == 200
    bank.clock.advance(10)
    assert bank.movements("rent-3") == 0
    assert bank.post_answered("rent-3")[0] == 201
    stats = bank.bank_stats()
    assert (stats["during_outage"], stats["movements"], stats["errors"]) == (2, 3, 0)


def test_with_its_call_the_target_goes_down_and_that_is_no_injected_fault(start: Start) -> None:
    stand_ins = start(outage_after_calls=2, outage_s=10)
    assert [status(stand_ins.call("POST", f"/target/{n}")) for n in range(4)] == [200, 503, 503, 503]
    assert stand_ins.post_answered("rent")[0] == 201
    stand_ins.clock.advance(10)
    assert status(stand_ins.call("POST", "/target/1")) == 200
    stats = stand_ins.stats()
    assert (stats["calls"], stats["during_outage"], stats["injected"]) == (5, 3, 0)


@pytest.mark.parametrize(("of", "expected"), [(None, (503, 503)), ("bank", (503, 200)), ("target", (201, 503))])
def test_an_outage_is_ordered_at_run_time(start: Start, of: str | None, expected: tuple[int, int]) -> None:
    stand_ins = start()

    def both(n: int) -> tuple[int, int]:
        return stand_ins.post_answered(f"rent-{n}")[0], status(stand_ins.call("POST", "/target/1"))

    assert stand_ins.order("outage", seconds=30, of=of) == 200
    assert both(1) == expected
    stand_ins.clock.advance(29.8)
    assert both(2) == expected
    stand_ins.clock.advance(0.1)
    assert both(3) == (201, 200)
    stand_ins.order("outage", seconds=30)
    stand_ins.order("outage", seconds=0)
    assert both(4) == (201, 200)


@pytest.mark.parametrize("body", [{}, {"seconds": -1}, {"seconds": "30"}, {"seconds": 1, "of": "report"}])
def test_a_wrong_order_is_refused(start: Start, body: dict[str, object]) -> None:
    stand_ins = start()
    assert stand_ins.order("outage", **body) == 400
    assert stand_ins.order("credentials", seconds=1) == 400
    assert stand_ins.post_answered("rent")[0] == 201


def test_above_the_limit_a_call_is_told_to_wait_and_moves_nothing(start: Start) -> None:
    bank = start(limit_per_s=10, limit_burst=3)
    calls = [bank.begin_post(f"rent-{n}", f"k-{n}") for n in range(5)]
    targets = [bank.begin("POST", f"/target/{n}") for n in range(4)]
    bank.clock.advance(0.05)
    assert [status(each) for each in calls] == [201] * 3 + [429] * 2
    # The target's limit is its own.
    assert [status(each) for each in targets] == [200] * 3 + [429]
    assert answered(calls[-1]).headers["Retry-After"] == "1"
    assert answered(targets[-1]).headers["Retry-After"] == "1"
    bank.clock.advance(1)
    # What was limited was not carried out and is not known by its key.
    assert bank.post_answered("rent-4", "k-4") == (201, {"id": "tr-4", "status": "booked"})
    assert (bank.bank_stats()["limited"], bank.stats()["limited"], bank.bank_stats()["movements"]) == (2, 1, 4)


def test_probes_are_limited_too(start: Start) -> None:
    bank = start(limit_per_s=1)
    bank.post("rent")
    assert status(bank.call("GET", "/bank/transfers?reference=rent")) == 429


def test_what_was_turned_away_plays_no_part_in_the_faults(start: Start) -> None:
    rates = Rates(error=0.5)
    references = [
        each for each in map("rent-{}".format, range(50)) if course(0, each, 1, rates) != course(0, each, 2, rates)
    ]
    bank = start(bank_error_rate=0.5, error_rate=0.5)
    undisturbed = start(error_rate=0.5)
    bank.order("outage", seconds=1)
    for each in references:
        assert bank.begin_post(each).is_waiting
        bank.begin("POST", f"/target/{each}")
    bank.clock.advance(1)
    found = [bank.post_answered(each)[0] == 503 for each in references]
    assert found == [course(0, each, 1, rates) is Course.ERROR for each in references]
    at_target = [
        [status(caller.call("POST", f"/target/{each}")) for each in references] for caller in (bank, undisturbed)
    ]
    assert at_target[0] == at_target[1]
    assert set(at_target[0]) == {200, 503}


def test_credentials_are_refused_from_a_call_on_until_they_are_accepted_again(start: Start) -> None:
    stand_ins = start(refuse_credentials_after_calls=3)
    assert [stand_ins.post_answered(f"rent-{n}")[0] for n in range(4)] == [201, 201, 401, 401]
    assert status(stand_ins.call("GET", "/bank/transfers?reference=rent-0")) == 401
    assert [status(stand_ins.call("POST", "/target/1")) for _ in range(4)] == [200, 200, 401, 401]
    assert stand_ins.begin("POST", "/-/credentials").answer is not None
    assert stand_ins.post_answered("rent-2")[0] == 201
    assert status(stand_ins.call("POST", "/target/1")) == 200
    stats = stand_ins.stats()
    assert (stats["unauthorized"], stats["bank"]["unauthorized"], stats["bank"]["movements"]) == (2, 3, 3)


def test_credentials_of_one_stand_in_are_accepted_again(start: Start) -> None:
    stand_ins = start(refuse_credentials_after_calls=1)
    assert stand_ins.order("credentials", of="bank") == 200
    assert stand_ins.post_answered("rent")[0] == 201
    assert status(stand_ins.call("POST", "/target/1")) == 401


def test_the_bank_asks_for_the_secret(start: Start) -> None:
    bank = start(target_secret="t0ken")
    right = bank.call("POST", "/bank/transfers", transfer("rent"), Authorization="Bearer t0ken")
    assert (status(right), bank.post_answered("gas")[0]) == (201, 401)
    assert (bank.bank_stats()["unauthorized"], bank.bank_stats()["movements"]) == (1, 1)


def test_what_is_forbidden_is_so_by_reference_and_by_path(start: Start) -> None:
    stand_ins = start(forbidden=["rent 7", "deposits/9"])
    assert stand_ins.post_answered("the rent 7 of may") == (403, {"error": "forbidden"})
    assert status(stand_ins.call("GET", "/bank/transfers?reference=rent%207")) == 403
    assert stand_ins.post_answered("rent 8")[0] == 201
    assert [status(stand_ins.call("POST", f"/target/deposits/{n}")) for n in (8, 9, 91)] == [200, 403, 403]
    assert (stand_ins.stats()["forbidden"], stand_ins.bank_stats()["forbidden"]) == (2, 2)
    assert stand_ins.bank_stats()["movements"] == 1


# --- Counting ---


def test_the_busiest_second_counts_every_call_also_what_is_turned_away(start: Start) -> None:
    stand_ins = start(limit_per_s=1)
    began = stand_ins.clock.monotonic()
    stand_ins.clock.advance(0.8)
    for _ in range(3):
        stand_ins.begin_post("rent")
        stand_ins.clock.advance(0.1)
    stand_ins.begin("GET", "/bank/transfers?reference=rent")
    stand_ins.begin("POST", "/target/1")
    stand_ins.clock.advance(5)
    stand_ins.begin_post("rent")
    bank, target = stand_ins.bank_stats(), stand_ins.stats()
    assert (bank["busiest_second"], target["busiest_second"]) == (4, 1)
    assert [bank["first_call"], bank["last_call"]] == pytest.approx([began + 0.8, began + 6.1])
    assert target["first_call"] == target["last_call"] == pytest.approx(began + 1.1)


def test_reset_forgets_calls_and_ends_what_is_wrong_but_money_stays_moved(start: Start) -> None:
    bank = start(bank_outage_after_calls=3, bank_outage_s=1_000, limit_per_s=1, limit_burst=2)
    assert [bank.post_answered("rent", key)[0] for key in ("k-1", "k-2", "k-3")] == [201, 201, 503]
    assert bank.order("reset") == 200
    assert bank.bank_stats() == {
        "posts": 0,
        "probes": 0,
        "errors": 0,
        "lost": 0,
        "late": 0,
        "silent": 0,
        "replayed": 0,
        "in_progress": 0,
        "key_reused": 0,
        "bad_requests": 0,
        "movements": 2,
        "to_come": 0,
        "movements_per_reference": {"2": 1},
        "moved_twice": ["rent"],
        "refused": 0,
        "unauthorized": 0,
        "forbidden": 0,
        "limited": 0,
        "during_outage": 0,
        "busiest_second": 0,
        "first_call": None,
        "last_call": None,
    }
    assert bank.post_answered("rent", "k-1")[1]["id"] == "tr-1"
    assert [bank.post_answered("rent", key)[0] for key in ("k-2", "k-3")] == [201, 503]


# --- Books ---


def test_the_bank_remembers_over_a_restart(start: Start, tmp_path: Path) -> None:
    options: dict[str, object] = {"bank_books": str(tmp_path / "books.jsonl"), "bank_key_window_s": 100}
    refused = next(each for each in map("rent-{}".format, range(100)) if is_refused(0, each, 0.2))
    paid = next(each for each in map("rent-{}".format, range(100)) if not is_refused(0, each, 0.2))
    bank = start(bank_refusal_rate=0.2, **options)
    first = bank.post_answered(paid, "k-1"), bank.post_answered(refused, "k-2")
    probes = bank.probe(paid), bank.probe(refused)
    bank.close()

    # 50 seconds later, and now the bank would refuse nobody.
    clock = VirtualClock(bank.clock.now() + 50)
    bank = start(clock, **options)
    assert (bank.probe(paid), bank.probe(refused)) == probes
    assert (bank.post_answered(paid, "k-1"), bank.post_answered(refused, "k-2")) == first
    assert bank.post_answered(paid, "k-3")[1]["id"] == "tr-3"
    stats = bank.bank_stats()
    assert (stats["movements"], stats["refused"], stats["moved_twice"]) == (2, 1, [paid])
    clock.advance(50)
    assert bank.post_answered(paid, "k-1")[1]["id"] == "tr-4"


def test_a_late_booking_comes_even_if_the_bank_was_restarted_before(start: Start, tmp_path: Path) -> None:
    books = str(tmp_path / "books.jsonl")
    bank = start(bank_late_rate=1, bank_late_s=30, bank_books=books)
    bank.post("rent", "k")
    bank.close()
    bank = start(VirtualClock(bank.clock.now()), bank_books=books)
    assert (bank.movements("rent"), bank.post_answered("rent", "k")[0]) == (0, 409)
    bank.clock.advance(30)
    assert (bank.movements("rent"), bank.post_answered("rent", "k")[0]) == (1, 201)


# --- The process ---


def say(bank: str, method: str, reference: str, key: str | None = None, timeout: float = 30) -> int:
    """One call on a connection of its own. Raises what `http.client` raises."""
    url = urlsplit(bank)
    assert url.hostname is not None
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)
    try:
        if method == "GET":
            connection.request("GET", f"{url.path}/transfers?reference={quote(reference)}")
        else:
            headers = {} if key is None else {"Idempotency-Key": key}
            connection.request("POST", f"{url.path}/transfers", transfer(reference), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_over_sockets_answers_get_lost_and_silent_and_the_next_process_knows_what_was_moved(tmp_path: Path) -> None:
    books = str(tmp_path / "books.jsonl")
    with StandIns(latency_ms=1, bank_books=books, bank_lost_rate=1) as stand_ins:
        with pytest.raises(http.client.RemoteDisconnected):
            say(stand_ins.bank, "POST", "rent", "k-1")
        with pytest.raises(StandInsError, match=r"bank_books: .* another process has these books open"):
            StandIns(bank_books=books)
    with StandIns(latency_ms=1, bank_books=books, bank_silent_rate=1, bank_silent_s=60) as stand_ins:
        assert say(stand_ins.bank, "POST", "rent", "k-1") == 201
        with pytest.raises(TimeoutError):
            say(stand_ins.bank, "POST", "gas", "k-2", timeout=0.2)
        assert say(stand_ins.bank, "POST", "gas", "k-2") == 409
        assert stand_ins.stats()["bank"]["movements_per_reference"] == {"1": 2}


def test_a_bank_that_is_killed_remembers_all_it_answered(tmp_path: Path) -> None:
    books = str(tmp_path / "books.jsonl")
    with StandIns(latency_ms=0, bank_books=books) as stand_ins:
        assert [say(stand_ins.bank, "POST", f"rent-{n}", f"k-{n}") for n in range(20)] == [201] * 20
        stand_ins._process.send_signal(signal.SIGKILL)
        stand_ins._process.wait()
    with StandIns(latency_ms=0, bank_books=books) as stand_ins:
        assert [say(stand_ins.bank, "POST", f"rent-{n}", f"k-{n}") for n in range(20)] == [201] * 20
        stats = stand_ins.stats()["bank"]
        assert (stats["movements"], stats["replayed"], stats["moved_twice"]) == (20, 20, [])


def test_over_sockets_of_many_callers_with_one_key_one_moves_money() -> None:
    with StandIns(latency_ms=20) as stand_ins, ThreadPoolExecutor(20) as callers:
        statuses = list(callers.map(lambda _: say(stand_ins.bank, "POST", "rent", "k"), range(60)))
        assert set(statuses) <= {201, 409}
        stats = stand_ins.stats()["bank"]
        assert (stats["posts"], stats["movements"], stats["moved_twice"]) == (60, 1, [])
        assert stats["in_progress"] == statuses.count(409) > 0
        assert stats["replayed"] == statuses.count(201) - 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"bank_lost_rate": 1.1}, "bank_lost_rate: Input should be less than or equal to 1"),
        ({"limit_per_s": 0}, "limit_per_s: Input should be greater than 0"),
        ({"bank_outage_after_calls": 0}, "bank_outage_after_calls: Input should be greater than or equal to 1"),
        ({"forbidden": [""]}, "forbidden.0: String should have at least 1 character"),
        ({"bank_books": "/missing/books.jsonl"}, "bank_books: "),
    ],
)
def test_wrong_options_of_the_bank_are_refused_in_one_line(options: dict[str, object], reason: str) -> None:
    with pytest.raises(StandInsError, match=f"^stand-ins: {reason}[^\n]*$"):
        StandIns(**options)
