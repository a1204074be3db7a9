"""Whole lives with a mark in every value: none in a log, an event, a refusal or a metric, and no secret anywhere."""

import base64
import html
import json
import logging
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from io import StringIO
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from botocore.exceptions import ClientError
from pydantic import BaseModel, field_validator

from functions._logs import write_logs
from functions._runtime import Context, Event, guarded
from rollcall import (
    Breaker,
    Call,
    Entry,
    Location,
    NotSent,
    Outcome,
    Rejected,
    Report,
    Response,
    Retry,
    Run,
    SourceError,
    TryAgain,
    Unanswered,
)
from rollcall.core.actions import Action
from rollcall.core.run import RunState
from rollcall.engine.fan_out.run_lease import request_of
from tests.functional.loopback import answer, serving
from tests.functional.wire import Sent
from tests.functional.workers import PAUSE, make_suspect
from tests.functional.world import RUN, World, a_job, delivered
from tests.hostile import bodies

#: In every key, payload, answer and error of a story; never in a name of ours.
MARK = "Q7X9Z"
NUMBER = 770_088_990
IBAN = f"{MARK}-DE02 1203"
PASSWORD = 'h0n&y "BZ9z" /kést+1'
TOKEN = "t0k3n-of-the-books-service"
BASIC = base64.b64encode(f"accounting-user:{PASSWORD}".encode()).decode()
FORMS = [
    PASSWORD,
    BASIC,
    f"Basic {BASIC}",
    quote(PASSWORD),
    quote(PASSWORD, safe=""),
    quote_plus(PASSWORD),
    re.sub("%..", lambda escape: escape[0].lower(), quote_plus(PASSWORD)),
    json.dumps(PASSWORD)[1:-1],
    json.dumps({"error": json.dumps({"password": PASSWORD})}),
    html.escape(PASSWORD),
    repr(PASSWORD.encode()),
    TOKEN,
    f"Bearer {TOKEN}",
    base64.b64encode(f"x:{TOKEN}".encode()).decode(),
    quote(json.dumps({"Authorization": f"Bearer {TOKEN}"})),
]
#: What no form can be shown without.
PIECES = ["h0n&y", "BZ9z", "kést", "k%C3%A9st", "k%c3%a9st", "k\\u00e9st", "t0k3n", BASIC[:12], BASIC[-12:-4]]


def key(number: int) -> str:
    return f"{MARK}-key-{number:02}"


def marked(number: int) -> list[Entry]:
    return [Entry(key(n), {"iban": IBAN, "amount": NUMBER, "lines": [{MARK: IBAN}]}) for n in range(number)]


def says(status: int, text: str = f"no client {IBAN}, {NUMBER}") -> Response:
    return Response(status, {"x-said": IBAN}, text.encode())


@dataclass
class Told:
    """All that a story has said to anybody but the ledger."""

    world: World
    written: StringIO
    others: pytest.LogCaptureFixture
    raised: list[str]

    @property
    def actions(self) -> set[str]:
        return {json.loads(line)["action"] for line in self.written.getvalue().splitlines()}

    def texts(self) -> Iterator[str]:
        """Logs with their metrics, events, refusals, what handlers raised, and what goes around messages."""
        yield self.written.getvalue()
        yield self.others.text
        yield from self.raised
        for request in self.world.wire.sent:
            if request.operation == "PutEvents":
                yield str(request.fields)
            if request.operation in {"SendMessageBatch", "SendMessage", "ChangeMessageVisibilityBatch"}:
                entries = request.fields.get("Entries", [])
                yield str([{name: value for name, value in each.items() if name != "MessageBody"} for each in entries])
            if request.operation in {"StartExecution", "Invoke"}:
                yield str(request.fields)
        runs = [item for item in self.ledger() if "generation" in item and "scheduled_for" in item]
        yield str([item.get("reason") for item in runs])
        yield str(self.world.manifest_keys())

    def ledger(self) -> list[dict[str, Any]]:
        return self.world.clients.dynamodb.scan(TableName="ledger")["Items"]

    def kept(self) -> Iterator[str]:
        """What is in the ledger, the manifests and the messages."""
        yield json.dumps(self.ledger(), ensure_ascii=False, default=sorted)
        for name in self.world.manifest_keys():
            yield self.world.clients.s3.get_object(Bucket="manifests", Key=name)["Body"].read().decode()
        yield from (message.body() for message, _ in self.world.sent())

    def check(self) -> None:
        for text in self.texts():
            for mark in (MARK, str(NUMBER)):
                where = text.find(mark)
                assert where < 0, text[max(0, where - 200) : where + 100]
        for text in (*self.texts(), *self.kept()):
            for piece in PIECES:
                where = text.find(piece)
                assert where < 0, text[max(0, where - 200) : where + 100]

    def invoke(self, act: Callable[[], object]) -> None:
        """As a function does: what it raises is what Lambda shows."""

        @guarded
        def handler(event: Event, context: Context) -> object:
            del event, context
            return act()

        context: Any = None
        try:
            handler({}, context)
        except Exception as error:
            self.raised.append("".join(traceback.format_exception(error)))


@pytest.fixture
def told(world: World, caplog: pytest.LogCaptureFixture) -> Iterator[Told]:
    """A world whose secrets are in use; at the story's end, everything that was said is searched."""
    world.clients.secretsmanager.create_secret(
        Name="books", SecretString=json.dumps({"username": "accounting-user", "password": PASSWORD})
    )
    world.clients.secretsmanager.create_secret(Name="bearer", SecretString=json.dumps({"token": TOKEN}))
    world.secrets.authorization("books")
    world.secrets.authorization("bearer")
    world.wire.reset()
    world.report = marked(12)
    text = StringIO()
    caplog.set_level(logging.INFO)
    write_logs("test", text, world.secrets.in_use.redacted)
    told = Told(world, text, caplog, [])
    yield told
    world.wire.heal()
    told.check()


def began(world: World, **options: Any) -> None:
    if options:
        world.declare(a_job(**options))
    world.start()
    assert world.run().state is RunState.RUNNING


# --- targets ---


@pytest.mark.parametrize("status", [422, 500, 503])
def test_a_target_repeats_a_secret_in_its_answers(told: Told, status: int) -> None:
    world = told.world
    world.report = marked(3 * len(FORMS))
    began(world, breaker=Breaker(failures=1_000), retry=Retry(retries=0))
    for number, form in enumerate(FORMS):
        # Within what is shown of an answer, and across its end.
        for place, filling in enumerate(("", "x" * 190, "x" * 197)):
            world.target.script(key(3 * number + place), says(status, f"{filling}{form} refused"))
    world.drain()
    world.announce()
    assert str(told.ledger()).count("[secret]") >= len(FORMS)


@pytest.mark.parametrize(
    "ending",
    [
        422,
        503,
        says(422),
        says(500),
        says(401),
        NotSent(f"PUT http://books/{IBAN}?{NUMBER}: connection refused"),
        Unanswered(f"PUT http://books/{IBAN}: reset"),
        TryAgain(f"busy with {IBAN}"),
        Rejected(f"no client {IBAN}"),
        KeyError(IBAN),
        ValueError(f"invalid literal for int(): '{NUMBER}'"),
        SystemExit(IBAN),
        RuntimeError(f"no {TOKEN} for {IBAN}"),
    ],
    ids=lambda ending: getattr(ending, "status", None) or repr(ending)[:12],
)
def test_calls_end_as_badly_as_they_can(told: Told, ending: Any) -> None:
    world = told.world
    began(world, breaker=Breaker(failures=1_000))
    # Fewer than would be the credentials' own fault.
    for number in range(3):
        world.target.script(key(number), *[ending] * 9)
    world.drain()
    world.announce()
    assert {"entry.retry", "entry.rejected"} & told.actions
    assert isinstance(ending, int | SystemExit) or MARK in str(told.ledger()), "the ledger keeps answers"


def test_a_breaker_opens_and_stays_open_and_closes(told: Told) -> None:
    world = told.world
    began(world, breaker=Breaker(failures=3))
    for number in range(12):
        world.target.script(key(number), says(503, f"down for {IBAN} {TOKEN}"))
    world.work(world.batch(*range(10)))
    world.watchdog()
    world.work(world.batch(10, 11))
    world.later(2 * PAUSE)
    world.work(world.batch(0, 1, receives=2))
    assert {"breaker.opened", "breaker.open", "breaker.closed", "entry.held"} <= told.actions


def test_a_claim_is_asked_about_and_its_target_cannot_tell(told: Told) -> None:
    world = told.world
    job = a_job(keys=None)

    @job.probe
    async def ask(deposit: dict[str, Any], call: Call) -> Outcome:
        raise Unanswered(f"no answer about {deposit} with {TOKEN} of {call.key}")

    world.declare(job)
    world.start()
    world.target.script(key(0), Unanswered(f"reset by {IBAN}"))
    world.drain()
    world.announce()
    assert {"entry.asked", "entry.unknown"} <= told.actions


def test_workers_die_and_entries_are_suspects(told: Told) -> None:
    world = told.world
    began(world)
    make_suspect(world, 0, 1)
    world.work(world.batch(0, 1, receives=3))
    assert "entry.suspect" in told.actions


# --- what lies on queues ---


def test_strange_messages_and_dead_letters(told: Told) -> None:
    world = told.world
    began(world)
    real = world.message(0)
    forged = [
        replace(real, generation=9),
        replace(real, key=f"{MARK}-other", payload={"iban": IBAN}),
        replace(real, index=7),
        replace(real, run=f"another-{RUN}"),
        replace(real, called_since=IBAN),
        replace(real, idempotency_key=f"{MARK}\ud83d"),
    ]
    texts = [*bodies(real).values(), *(message.body() for message in forged), real.body() + " ", f'"{IBAN}"', IBAN]
    records = [delivered(text, message_id=f"m-{number}") for number, text in enumerate(texts)]
    world.work(records)
    world.dead_letters(records)
    world.dead_letters(world.batch(0, 1))
    assert {"message.dropped", "dead_letter.settled"} <= told.actions


def test_a_dead_letter_of_an_entry_that_is_held(told: Told) -> None:
    world = told.world
    began(world)
    world.work(world.batch(3), time=timedelta(seconds=1))
    assert world.dead_letters(world.batch(3))
    assert "entry.returned" in told.actions


# --- sources ---


class Deposit(BaseModel):
    iban: str
    amount: int

    @field_validator("iban")
    @classmethod
    def is_known(cls, iban: str) -> str:
        if not iban.startswith("XX"):
            raise ValueError(f"no such account: {iban}")
        return iban


async def pay(deposit: Deposit, call: Call) -> None:
    await call.http.put(f"/deposits/{call.key}", json=deposit.model_dump())


def test_entries_are_duplicates_and_invalid_in_every_way(told: Told) -> None:
    world = told.world
    world.declare(a_job(moves_money=True), pay)
    good = {"iban": "XX", "amount": 1}
    world.report = [
        Entry(key(0), {"iban": IBAN, "amount": NUMBER}, f"{MARK}-0"),
        Entry(key(1), {"iban": "XX", "amount": IBAN}, f"{MARK}-1"),
        Entry(key(2), IBAN, f"{MARK}-2"),
        Entry(key(3), good, f"{MARK}-3" * 1_000),
        Entry(key(4), good),
        Entry(NUMBER, good, f"{MARK}-5"),
        Entry(f"{MARK}\ud83d", good, f"{MARK}-6"),
        Entry(f"{MARK}" * 500, good, f"{MARK}-7"),
        Entry(key(8), {**good, "iban": "XX" + IBAN * 20_000}, f"{MARK}-8"),
        *[Entry(key(9), good, f"{MARK}-9")] * 3,
    ]
    world.start()
    world.drain()
    world.announce()
    assert {"entry.rejected", "entry.duplicate"} <= told.actions
    assert MARK in str(told.ledger())


def refused(told: Told) -> str:
    world = told.world
    told.invoke(world.start)
    assert world.run().state is RunState.REFUSED
    world.announce()
    return world.run().reason or ""


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"time data '{IBAN}' does not match"),
        KeyError(IBAN),
        RuntimeError(f"no {TOKEN}"),
        Rejected(f"the report has {IBAN}"),
        Unanswered(f"no answer to {IBAN} with {BASIC}"),
        SourceError(f"the report is not of today: it has {IBAN}, {NUMBER} and {TOKEN}"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_source_fails(told: Told, error: Exception) -> None:
    told.world.report = [*marked(3), error]
    assert refused(told)


def test_a_report_contradicts_itself(told: Told) -> None:
    told.world.report = [*marked(3), Entry(key(1), {"iban": "another"})]
    assert "entry 4 has the key of an earlier one" in refused(told)


DEPOSITS = Report("deposits")


def reading(told: Told, body: bytes, *headers: str, status: str = "200 OK", ending: str = "r.json") -> str:
    """A run whose source reads what a server answers; returns why it is refused."""
    world = told.world
    job = world.declare(a_job(needs=[DEPOSITS]))

    def deposits(run: Run) -> Iterator[Entry]:
        for record in run.read(DEPOSITS):
            if "Bad" in record:
                raise SourceError(f"Bad is {record['Bad']} in {record}")
            yield Entry.of(record, key="Deposit_ID")

    job._source = deposits
    with serving(answer(status, body, *headers, "Connection: close")) as server:
        world.reports = {"deposits": Location(f"{server.url}/{ending}?token={TOKEN}", secret="books")}
        return refused(told)


def test_a_report_server_repeats_a_secret(told: Told) -> None:
    body = " ".join([*FORMS, IBAN]).encode()
    assert reading(told, body, f"X-Said: {BASIC}", status=f"403 {TOKEN}").endswith(": it answered HTTP 403")


@pytest.mark.parametrize(
    ("body", "ending"),
    [
        (f'{{"Report_Entry": [{{"Deposit_ID": "{IBAN}", "x": "{IBAN}}}'.encode(), "r.json"),
        (f'{{"Report_Entry": [{{"Deposit_ID": "{IBAN}\\q"}}]}}'.encode(), "r.json"),
        (f'{{"Report_Entry": [{{"Deposit_ID": "{IBAN}'.encode() + b'\xff"}]}', "r.json"),
        (f'{{"Deposit_ID": "{IBAN}"}}\n{{"Deposit_ID": {IBAN}}}\n'.encode(), "r.jsonl"),
        (f'{{"Deposit_ID": "{IBAN}"}}\n["{IBAN}"]\n'.encode(), "r.jsonl"),
        (f"{IBAN},{IBAN},{NUMBER}\n".encode(), "r.csv"),
        (f"Deposit_ID,iban\n{IBAN},{IBAN},{IBAN}\n".encode(), "r.csv"),
        (f'Deposit_ID,iban\n{IBAN},"{IBAN}"{IBAN}\n'.encode(), "r.csv"),
        (f'{{"Deposit_ID": "{IBAN}", "Bad": "{IBAN}", "n": {NUMBER}}}\n'.encode(), "r.jsonl"),
        (f"<html>{IBAN} {TOKEN}</html>".encode(), "r.json"),
    ],
)
def test_a_report_is_broken(told: Told, body: bytes, ending: str) -> None:
    assert reading(told, body, ending=ending)


def test_a_report_redirects_elsewhere(told: Told) -> None:
    reason = reading(told, b"", f"Location: http://ann:{TOKEN}@elsewhere.invalid/{MARK}?{TOKEN}", status="302 Found")
    assert "it redirects to another origin, http://elsewhere.invalid:80;" in reason


# --- AWS, hooks, operators ---


def refusing(operation: str, of: str = "") -> Callable[[Sent], None]:
    """Every such request is refused with words that quote it; `of` begins the keys that are meant."""
    said: Any = {"Error": {"Code": "ValidationException", "Message": f"not valid: {IBAN}, {NUMBER}, {TOKEN}"}}

    def before(sent: Sent) -> None:
        if sent.operation == operation and sent.key.startswith(of):
            raise ClientError(said, operation)

    return before


@pytest.mark.parametrize(
    "operation", ["PutObject", "SendMessageBatch", "UpdateItem", "BatchGetItem", "TransactWriteItems"]
)
def test_aws_refuses_what_a_fan_out_asks_for(told: Told, operation: str) -> None:
    told.world.wire.before = refusing(operation)
    told.invoke(told.world.start)
    assert "ValidationException" in told.raised[0]


@pytest.mark.parametrize(
    ("operation", "of"),
    [("UpdateItem", "node#"), ("UpdateItem", "entry#"), ("UpdateItem", "target#"), ("BatchGetItem", ""),
     ("ChangeMessageVisibilityBatch", "")],
)  # fmt: skip
def test_aws_refuses_what_a_worker_asks_for(told: Told, operation: str, of: str) -> None:
    world = told.world
    began(world, breaker=Breaker(failures=3))
    world.target.script(key(0), says(422))
    for number in range(1, 10):
        world.target.script(key(number), says(503))
    world.wire.before = refusing(operation, of)
    told.invoke(lambda: world.work(world.batch(10, 11, receives=2)))
    told.invoke(lambda: world.work(world.batch(*range(10))))
    assert "entry.returned" in told.actions or "ValidationException" in told.raised[0]


@pytest.mark.parametrize("operation", ["UpdateItem", "BatchGetItem", "GetObject"])
def test_aws_refuses_what_a_dead_letter_needs(told: Told, operation: str) -> None:
    world = told.world
    began(world)
    letters = world.batch(5)
    world.wire.before = refusing(operation)
    told.invoke(lambda: world.dead_letters(letters))
    assert "entry.returned" in told.actions


@pytest.mark.parametrize("operation", ["UpdateItem", "BatchGetItem", "PutEvents"])
def test_aws_refuses_what_the_watchdog_asks_for(told: Told, operation: str) -> None:
    world = told.world
    began(world)
    world.drain()
    world.wire.before = refusing(operation)
    told.invoke(world.watchdog)
    assert "ValidationException" in told.raised[0]


def test_a_hook_fails(told: Told) -> None:
    world = told.world

    def hook(_: object) -> None:
        raise ValueError(f"POST https://hooks/{TOKEN}: {IBAN}")

    world.hook = hook
    began(world)
    world.drain()
    world.announce()
    assert "hook.failed" in told.actions


def test_entries_are_redriven_by_their_keys(told: Told) -> None:
    world = told.world
    began(world)
    for number in range(3):
        world.target.script(key(number), *[says(503)] * 4)
    world.drain()
    world.announce()
    world.redrive(keys=[key(0)])
    world.drain()
    world.announce()
    world.redrive(keys=[key(1)], new_key=True)
    assert {"run.redriven", "entry.left_out"} <= told.actions


def test_a_run_is_cancelled_and_an_event_is_none(told: Told) -> None:
    world = told.world
    began(world)
    world.cancel()
    world.drain()
    world.announce()
    for event in (
        {"redrive": RUN, "generation": IBAN, "keys": [key(0)]},
        {"redrive": RUN, "generation": 1, "outcomes": [IBAN]},
        {"scheduled_time": IBAN},
        {},
    ):
        told.invoke(lambda event=event: request_of(event))  # type: ignore[misc]
    assert len(told.raised) == 4
    assert "entry.cancelled" in told.actions


def test_a_callback_that_is_handed_a_secret_writes_it_into_everything(told: Told) -> None:
    world = told.world

    async def tell(deposit: dict[str, Any], call: Call) -> None:
        signed = call.secret("bearer")
        if call.key == key(0):
            raise Rejected(f"{signed} for {deposit}")
        raise KeyError(json.loads(signed)["token"], call.secret("books"))

    world.declare(a_job(), tell)
    world.start()
    world.drain()
    world.announce()
    assert "[secret]" in str(told.ledger())


def test_what_was_marked_is_what_is_kept(told: Told) -> None:
    """Else nothing was tried."""
    began(told.world)
    told.world.target.script(key(0), says(422))
    told.world.drain()
    kept = " ".join(told.kept())
    assert IBAN in kept
    assert str(NUMBER) in kept
    assert key(0) in kept
    assert Action.ENTRY_REJECTED in told.actions
