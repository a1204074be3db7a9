"""The classes of answers, one by one, over real sockets; docs/answers.md shows this very table."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from rollcall import NEVER_ARRIVED, Call, Job, Keys, Location, NeverArrived, Outcome, Response, Unanswered
from rollcall.adapters.http.client import TargetClient
from rollcall.core.call import IDEMPOTENCY_HEADER, Request
from tests.functional.loopback import Reply, answer, reset, serving, unused_port
from tests.functional.world import World, a_job

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/answers.md"
EXAMPLE = ROOT / "docs/examples/pay_outs.py"
TIMEOUT = timedelta(seconds=0.4)

Url = AbstractContextManager[str]


# --- where a call may end ---


@contextmanager
def answering(reply: Reply) -> Iterator[str]:
    with serving(reply) as server:
        yield server.url


def status(line: str, *headers: str, body: bytes = b"") -> Callable[[], Url]:
    return lambda: answering(answer(line, body, *headers))


@contextmanager
def at(url: str) -> Iterator[str]:
    yield url


@contextmanager
def full() -> Iterator[str]:
    """A listener that accepts nobody: its queue is full, and further ones get no word."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as waiting:
        address = listener.getsockname()
        for _ in range(4):
            another = waiting.enter_context(socket.socket())
            another.setblocking(False)
            another.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"


@contextmanager
def speaking_no_tls() -> Iterator[str]:
    with serving(b"", greeting=b"220 mail.example ready\r\n") as server:
        yield server.url.replace("http:", "https:")


def hang(connection: socket.socket) -> None:
    connection.settimeout(5)
    connection.recv(1)


# --- the table ---


@dataclass(frozen=True)
class Row:
    """What comes of a call, and what follows from it."""

    what: str
    target: Callable[[], Url]
    #: With keys: after the first such answer, and where there is never another.
    keyed: str
    at_last: str
    #: With claims: without a probe, and with one.
    claimed: str
    probed: str

    def __str__(self) -> str:
        return self.what

    @property
    def line(self) -> str:
        return f"| {self.what} | {self.keyed} | {self.at_last} | {self.claimed} | {self.probed} |"


def settled(what: str, target: Callable[[], Url], outcome: str) -> Row:
    return Row(what, target, outcome, outcome, outcome, outcome)


def never_executed(what: str, target: Callable[[], Url], wait: int = 2, at_last: str = "failed") -> Row:
    again = f"called again after {wait} s"
    return Row(what, target, again, at_last, again, again)


def may_have_been_executed(what: str, target: Callable[[], Url], at_last: str) -> Row:
    return Row(what, target, "called again after 2 s", at_last, "unknown", "asked about after 2 s")


ROWS = [
    never_executed("connection refused", lambda: at(f"http://127.0.0.1:{unused_port()}")),
    never_executed("no connection in time", full),
    never_executed("unknown host (DNS)", lambda: at("http://nobody.invalid")),
    never_executed("TLS error", speaking_no_tls),
    may_have_been_executed("no answer in time", lambda: answering(hang), "unknown"),
    may_have_been_executed("connection reset", lambda: answering(reset), "unknown"),
    settled("200", status("200 OK", body=b"{}"), "succeeded"),
    settled("201", status("201 Created", body=b"{}"), "succeeded"),
    settled("204", status("204 No Content"), "succeeded"),
    may_have_been_executed("200, and the body is no JSON", status("200 OK", body=b"<p>"), "failed"),
    Row(
        "302, and any other 3xx",
        status("302 Found", "Location: /elsewhere"),
        *("rejected", "rejected", "unknown", "asked about after 2 s"),
    ),
    settled("400", status("400 Bad Request"), "rejected"),
    never_executed("401 (1)", status("401 Unauthorized"), at_last="rejected"),
    never_executed("403 (1)", status("403 Forbidden"), at_last="rejected"),
    settled("404", status("404 Not Found"), "rejected"),
    may_have_been_executed("408", status("408 Request Timeout"), "failed"),
    settled("409 (2)", status("409 Conflict"), "rejected"),
    settled("422, and any other 4xx", status("422 Unprocessable Content"), "rejected"),
    never_executed("425", status("425 Too Early")),
    never_executed("429", status("429 Too Many Requests")),
    never_executed("429, `Retry-After: 7`", status("429 Too Many Requests", "Retry-After: 7"), 7),
    never_executed(
        "429, `Retry-After:` a date in 30 s",
        status("429 Too Many Requests", "Retry-After: Sat, 21 Nov 2026 02:30:30 GMT"),
        30,
    ),
    may_have_been_executed("500", status("500 Internal Server Error"), "failed"),
    may_have_been_executed("502", status("502 Bad Gateway"), "failed"),
    may_have_been_executed("503 (3)", status("503 Service Unavailable"), "failed"),
    may_have_been_executed("504", status("504 Gateway Timeout"), "failed"),
]


async def post(deposit: Any, call: Call) -> None:
    response = await call.http.post(f"/deposits/{call.key}", json=deposit)
    if response.body:
        response.json()


def nobody_knows(deposit: Any, call: Call) -> NeverArrived:
    del deposit, call
    return NEVER_ARRIVED


@pytest.fixture
def calling(world: World) -> Iterator[Callable[..., None]]:
    """Deliver the run's one entry to a worker that calls a target at this URL."""
    clients: list[TargetClient] = []

    def deliver(url: str, receives: int = 1) -> None:
        clients.append(TargetClient(Location(url), world.secrets, TIMEOUT, 1))
        world.work(world.batch(0, receives=receives), worker=world.worker(clients[-1].send))

    yield deliver
    for client in clients:
        world.runner.run(client.close())


def declare(world: World, keys: Keys | None = None, *, probe: bool = False) -> Job:
    job = world.declare(a_job(keys=keys, timeout=TIMEOUT), post)
    if probe:
        job.probe(nobody_knows)
    world.begin(1)
    return job


def happens(world: World) -> str:
    """What the table says."""
    outcome, wait = world.outcome(0), next(iter(world.waits().values()), None)
    if outcome is not None:
        return outcome.value
    return f"{'asked about' if world.chunk().asking else 'called again'} after {wait} s"


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_with_keys(world: World, row: Row, calling: Callable[..., None]) -> None:
    declare(world, Keys())
    with row.target() as url:
        calling(url)
        assert happens(world) == row.keyed
        for receives in range(2, 5):
            if world.outcome(0) is None:
                calling(url, receives)
    assert happens(world) == row.at_last


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("probe", [False, True], ids=["no probe", "probe"])
def test_with_claims(world: World, row: Row, probe: bool, calling: Callable[..., None]) -> None:
    declare(world, probe=probe)
    with row.target() as url:
        calling(url)
    assert happens(world) == (row.probed if probe else row.claimed)


def test_a_503_is_proof_where_the_target_declares_it(world: World, calling: Callable[..., None]) -> None:
    world.declare(a_job(keys=None, timeout=TIMEOUT, never_executed=frozenset({425, 429, 503})), post)
    world.begin(1)
    with status("503 Service Unavailable")() as url:
        calling(url)
    assert happens(world) == "called again after 2 s"


def test_a_conflict_after_an_unanswered_attempt_is_called_again(world: World, calling: Callable[..., None]) -> None:
    declare(world, Keys())
    with answering(reset) as url:
        calling(url)
    with status("409 Conflict")() as url:
        calling(url, 2)
    assert world.outcome(0) is None
    assert list(world.waits().values()) == [4]


# --- the document ---

TEXT = DOCUMENT.read_text()


def test_the_document_shows_this_table() -> None:
    lines = TEXT.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| what came of the call |")) + 2
    assert lines[first : first + len(ROWS)] == [row.line for row in ROWS]
    assert not lines[first + len(ROWS)].startswith("|")


def test_the_documents_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (DOCUMENT.parent / link).exists(), link


def test_the_documents_example_is_the_file() -> None:
    (shown,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert shown == EXAMPLE.read_text()


def test_the_example_pays_and_asks(world: World, tmp_path: Path) -> None:
    spec = spec_from_file_location("pay_outs", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    world.job = module.job
    report = tmp_path / "due.json"
    records = [{"Pay_Out_ID": name, "account": "A/1", "amount": "10.00"} for name in ("P1", "P2")]
    report.write_text(json.dumps({"Report_Entry": records}))
    world.reports = {"pay-outs-due": Location(str(report))}
    run = world.start()
    assert run is not None
    booked: dict[str, list[dict[str, str]]] = {"pay-out-P1": [], "pay-out-P2": [{"status": "booked"}]}
    ordered: list[str] = []

    async def send(request: Request) -> Response:
        reference = request.headers[IDEMPOTENCY_HEADER]
        if request.method == "GET":
            assert request.path == f"/accounts/A%2F1/payments?reference={reference}"
            return Response(200, {}, json.dumps(booked[reference]).encode())
        ordered.append(json.loads(request.body or b"")["reference"])
        raise Unanswered("timed out")

    for receives in (1, 2):
        world.work(world.batch(0, 1, run=run.id, receives=receives), worker=world.worker(send))
    assert ordered == ["pay-out-P1", "pay-out-P2"]
    assert world.outcomes(run.id) == {Outcome.SUCCEEDED: 1}
    booked["pay-out-P1"] = [{"status": "refused"}]
    world.work(world.batch(0, run=run.id, receives=3), worker=world.worker(send))
    assert world.outcomes(run.id) == {Outcome.SUCCEEDED: 1, Outcome.REJECTED: 1}
