"""Recurring transfers over their tables: what a run takes, what each answer of the bank leads to, and every death."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from functions.jobs.transfers import execute_transfers
from functions.jobs.transfers._targets import BANK, PROVIDER_STATUS, TRANSFERS
from rollcall import Entry, NotSent, Outcome, Response, Run, Table, Unanswered
from rollcall.adapters.clients import Clients
from rollcall.adapters.tables import TableItems
from rollcall.core import names
from rollcall.core.answers import Answer
from rollcall.core.call import IDEMPOTENCY_HEADER, Request
from rollcall.core.message import Message
from rollcall.core.run import RunRecord, RunState, run_id
from rollcall.engine.worker.callback import Caller
from tests.functional.wire import Killed, Sent, Wire
from tests.functional.world import DUE, VirtualClock, World, a_job
from tools.local_cloud.resources import ENVIRONMENT, fill_table, make_table

JOB = execute_transfers.job
TODAY = datetime(2026, 11, 30, 5, 0, tzinfo=UTC)
RUN, LATER_RUN = run_id(JOB.name, TODAY), run_id(JOB.name, TODAY + timedelta(days=1))
ID = "RT-1-2026-11-30"
FOLLOWING = {"RT-1-2026-12-30": "PENDING", "RT-1-2027-01-30": "PENDING"}
LATE = timedelta(days=1)


def item(series: str = "RT-1", due: str = "2026-11-30", **fields: object) -> dict[str, Any]:
    return {
        "id": f"{series}-{due}", "series": series, "due": due, "interval": "monthly", "day": 30, "from": "GB1",
        "to": "GB2", "amount": "12.50", "currency": "GBP", "state": "IN_FLY", "run": RUN, **fields,
    }  # fmt: skip


class Bank:
    """Knows keys, and does as its script says: book, refuse, a status, `lost` (booked, no answer) or an exception."""

    def __init__(self) -> None:
        self.script: list[object] = []
        self.moved: Counter[str] = Counter()
        self.posts: list[Request] = []
        self.gets: list[str] = []
        self.undecided = False
        self._refused: set[str] = set()
        self._answers: dict[str, Response] = {}

    async def send(self, request: Request) -> Response:
        url = urlsplit(request.path)
        if request.method == "GET":
            assert url.path == "/transfers"
            return self._told(parse_qs(url.query)["reference"][0])
        assert (request.method, url.path) == ("POST", "/transfers")
        self.posts.append(request)
        step = self.script.pop(0) if self.script else "book"
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, int):
            return Response(step, {}, b"not now")
        answer = self._carry_out(request, str(step))
        if step == "lost":
            raise Unanswered("the connection was closed")
        return answer

    def _carry_out(self, request: Request, step: str) -> Response:
        key = request.headers[IDEMPOTENCY_HEADER]
        if key not in self._answers:
            reference = json.loads(request.body or b"")["reference"]
            if step == "refuse":
                self._refused.add(reference)
                self._answers[key] = Response(422, {}, b'{"error":"insufficient_funds"}')
            else:
                self.moved[reference] += 1
                self._answers[key] = Response(201, {}, b'{"id":"tr-1","status":"booked"}')
        return self._answers[key]

    def _told(self, reference: str) -> Response:
        self.gets.append(reference)
        if self.script:
            return Response(int(str(self.script.pop(0))), {}, b"not now")
        status = "pending" if self.undecided else "booked"
        booked = [{"id": "tr-1", "reference": reference, "status": status}] if reference in self.moved else []
        refused = [{"id": "tr-1", "reference": reference, "status": "refused"}] if reference in self._refused else []
        return Response(200, {}, json.dumps({"transfers": booked, "refused": refused}).encode())


class Story:
    """The two tables, a bank, and the job's functions as the engine calls them."""

    def __init__(self, clients: Clients, wire: Wire, clock: VirtualClock, runner: asyncio.Runner) -> None:
        self.clients = clients
        self.wire = wire
        self.clock = clock
        self.bank = Bank()
        self._runner = runner
        clock.set(TODAY + timedelta(minutes=1))
        for table in JOB.tables:
            make_table(clients.dynamodb, table)
        wire.reset()

    # --- tables ---

    def table(self, table: Table) -> TableItems:
        return TableItems(self.clients.tables, names.table_name(ENVIRONMENT, table.name))

    def put(self, *items: Mapping[str, object]) -> None:
        for each in items:
            self.table(TRANSFERS).put_item(Item=each)
        self.wire.reset()

    def all(self, table: Table) -> dict[str, dict[str, Any]]:
        found = self.clients.tables.scan(TableName=names.table_name(ENVIRONMENT, table.name))["Items"]
        return {str(each[table.key]): dict(each) for each in found}

    @property
    def states(self) -> dict[str, str]:
        return {name: each["state"] for name, each in self.all(TRANSFERS).items()}

    @property
    def verdicts(self) -> dict[str, dict[str, Any]]:
        return self.all(PROVIDER_STATUS)

    # --- the job ---

    def taken(self, run: str = RUN, today: datetime = TODAY, table: type[TableItems] = TableItems) -> Iterator[Entry]:
        items = table(self.clients.tables, names.table_name(ENVIRONMENT, TRANSFERS.name))
        return JOB.entries(Run(run, JOB.name, today, _table=lambda _: items))

    def call(self, attempt: int = 1, *, run: str = RUN, **fields: object) -> Answer:
        """An attempt, as the engine makes it."""
        caller = Caller(JOB, self.bank.send, str, self.table, self.clock)
        return self._runner.run(
            caller.attempt(record(run), message(run, **fields), attempt, unanswered_before=attempt > 1)
        )

    def ask(self, number: int = 1, run: str = RUN) -> Answer | None:
        """A question, as the engine asks it."""
        caller = Caller(JOB, self.bank.send, str, self.table, self.clock)
        return self._runner.run(caller.ask(record(run), message(run), number))


def record(run: str) -> RunRecord:
    due = TODAY if run == RUN else TODAY + timedelta(days=1)
    return RunRecord(run, JOB.name, RunState.RUNNING, due, due)


def message(run: str, **fields: object) -> Message:
    found = JOB.payloads.enumerated(Entry(ID, item(**fields), ID))  # type: ignore[arg-type]
    assert found.rejected is None
    return Message(run, 1, 0, 0, 1, ID, found.payload, found.idempotency_key)


@pytest.fixture
def story(aws: Clients, wire: Wire, clock: VirtualClock) -> Iterator[Story]:
    with asyncio.Runner() as runner:
        yield Story(aws, wire, clock, runner)


# --- The source ---


def test_a_run_takes_what_is_due_and_may_be_called_and_marks_it(story: Story) -> None:
    free = [item(f"S-{state}", state=state) for state in ("PENDING", "RETRY", "IN_FLY")]
    others = [item(f"S-{state}", state=state, run="r") for state in ("PROCESSING", "FINISHED", "FAILED", "CANCELLED")]
    late, early = item("S-LATE", "2025-02-03", state="PENDING"), item("S-EARLY", "2026-12-01", state="PENDING")
    story.put(*free, *others, late, early)
    taken = list(story.taken())
    ids = sorted(each["id"] for each in (*free, late))
    assert sorted(str(entry.key) for entry in taken) == ids
    assert all(entry.idempotency_key == entry.key for entry in taken)
    kept = story.all(TRANSFERS)
    assert {(kept[name]["state"], kept[name]["run"]) for name in ids} == {("IN_FLY", RUN)}
    assert all(kept[each["id"]] == each for each in (*others, early))


def test_a_transfer_is_marked_as_it_is_yielded_and_pages_are_read_as_they_are_needed(story: Story) -> None:
    class TwoAPage(TableItems):
        def query(self, **kwargs: Any) -> dict[str, Any]:
            return super().query(Limit=2, **kwargs)

    story.put(*(item(f"S{number}", state="PENDING") for number in range(7)))
    entries = story.taken(table=TwoAPage)
    first = next(entries)
    assert story.wire.counts()["Query"] <= 3 + 1
    assert Counter(story.states.values()) == {"IN_FLY": 1, "PENDING": 6}
    assert story.states[str(first.key)] == "IN_FLY"
    assert {str(first.key), *(str(entry.key) for entry in entries)} == {f"S{number}-2026-11-30" for number in range(7)}


def test_what_changed_since_the_index_was_read_is_left_as_it_is(story: Story) -> None:
    story.put(item("S1", state="PENDING"), item("S2", state="PENDING"), item("S3", state="RETRY"))

    changed = {"S1-2026-11-30": item("S1", state="CANCELLED"), "S3-2026-11-30": item("S3", run="another")}

    class ChangedBehind(TableItems):
        def query(self, **kwargs: Any) -> dict[str, Any]:
            found = super().query(**kwargs)
            story.put(*(changed[each["id"]] for each in found["Items"] if each["id"] in changed))
            return found

    assert [entry.key for entry in story.taken(table=ChangedBehind)] == ["S2-2026-11-30"]
    assert {name: story.all(TRANSFERS)[name] for name in changed} == changed
    assert story.states["S2-2026-11-30"] == "IN_FLY"


@pytest.mark.parametrize(("run", "taken"), [(RUN, [ID]), ("another", [])])
def test_what_an_index_that_lags_shows_as_pending_is_taken_if_this_run_has_marked_it(
    story: Story, run: str, taken: list[str]
) -> None:
    class Lags(TableItems):
        def query(self, **kwargs: Any) -> dict[str, Any]:
            pending = kwargs["ExpressionAttributeValues"][":state"] == "PENDING"
            return {"Items": [item(state="PENDING")] if pending else []}

    story.put(item(run=run))
    assert [entry.key for entry in story.taken(table=Lags)] == taken
    assert story.all(TRANSFERS)[ID]["run"] == run


def test_the_payload_is_what_stands_in_the_table_and_not_in_an_index_that_lags(story: Story) -> None:
    class Lags(TableItems):
        def query(self, **kwargs: Any) -> dict[str, Any]:
            found = super().query(**kwargs)
            return found | {"Items": [each | {"amount": "1.00"} for each in found["Items"]]}

    story.put(item("S1", state="PENDING"))
    (entry,) = story.taken(table=Lags)
    assert isinstance(entry.payload, Mapping)
    assert entry.payload["amount"] == "12.50"


@pytest.mark.parametrize("kill", [Wire.kill_before, Wire.kill_after])
@pytest.mark.parametrize("number", range(1, 3 + 5 + 1))
def test_a_run_that_is_enumerated_anew_takes_the_same_transfers(story: Story, kill: Any, number: int) -> None:
    """It dies at each of its three queries and five marks."""
    items = [item(f"S{n}", state=state) for n, state in enumerate(["PENDING", "RETRY", "IN_FLY", "PENDING", "PENDING"])]
    story.put(*items)
    kill(story.wire, number)
    with pytest.raises(Killed):
        list(story.taken())
    story.wire.heal()
    assert sorted(str(entry.key) for entry in story.taken()) == sorted(each["id"] for each in items)


def test_the_next_run_takes_what_a_run_left_behind(story: Story) -> None:
    story.put(item(state="IN_FLY", run=RUN), item("S2", state="RETRY", run=RUN))
    assert len(list(story.taken(LATER_RUN, TODAY + LATE))) == 2
    assert {each["run"] for each in story.all(TRANSFERS).values()} == {LATER_RUN}


# --- The callback ---


def test_a_transfer_is_paid_its_answer_kept_and_the_next_ones_created(story: Story) -> None:
    story.put(item())
    assert story.call().outcome is Outcome.SUCCEEDED
    (post,) = story.bank.posts
    assert post.headers[IDEMPOTENCY_HEADER] == ID
    assert json.loads(post.body or b"") == {
        "reference": ID, "from": "GB1", "to": "GB2", "amount": "12.50", "currency": "GBP",
    }  # fmt: skip
    assert story.states == {ID: "FINISHED", **FOLLOWING}
    assert story.verdicts == {
        ID: {"transfer": ID, "status": "booked", "answer": '{"id":"tr-1","status":"booked"}', "run": RUN}
    }
    created = story.all(TRANSFERS)["RT-1-2026-12-30"]
    expected = item(due="2026-12-30", state="PENDING")
    assert created == {name: value for name, value in expected.items() if name != "run"}


def test_it_is_marked_before_the_bank_is_called(story: Story) -> None:
    story.put(item())
    seen: list[str] = []
    send = story.bank.send

    async def looking(request: Request) -> Response:
        seen.append(story.states[ID])
        return await send(request)

    story.bank.send = looking  # type: ignore[method-assign]
    story.call()
    assert seen == ["PROCESSING"]


def test_next_transfers_that_are_there_stay_as_they_are(story: Story) -> None:
    changed = item(due="2026-12-30", state="FINISHED", amount="99.00")
    story.put(item(), changed)
    story.call()
    assert story.all(TRANSFERS)["RT-1-2026-12-30"] == changed
    assert story.states["RT-1-2027-01-30"] == "PENDING"


def test_a_refused_transfer_is_finished_too_and_the_series_goes_on(story: Story) -> None:
    story.put(item())
    story.bank.script = ["refuse"]
    answer = story.call()
    assert (answer.outcome, answer.error) == (Outcome.REJECTED, "http_422")
    assert story.states == {ID: "FINISHED", **FOLLOWING}
    assert story.verdicts[ID]["status"] == "refused"
    assert story.verdicts[ID]["answer"] == '{"error":"insufficient_funds"}'
    assert not story.bank.moved


DOWN = [500, 503, 429, 408, 425, 401, 403, 404, NotSent("refused")]


@pytest.mark.parametrize("step", DOWN, ids=str)
def test_a_bank_that_is_down_or_turns_us_away_makes_it_retry(story: Story, step: object) -> None:
    story.put(item())
    story.bank.script = [step]
    answer = story.call(JOB.retry.retries)
    assert answer.outcome in (None, Outcome.REJECTED)
    assert story.states == {ID: "RETRY"}
    assert story.verdicts == {}
    assert story.call(JOB.retry.retries + 1).outcome is Outcome.SUCCEEDED
    assert story.states == {ID: "FINISHED", **FOLLOWING}


@pytest.mark.parametrize("step", DOWN, ids=str)
def test_it_fails_with_the_last_attempt_and_a_redrive_can_still_pay_it(story: Story, step: object) -> None:
    story.put(item())
    story.bank.script = [step]
    story.call(JOB.retry.retries + 1)
    assert story.states == {ID: "FAILED"}
    assert story.verdicts == {}
    assert list(story.taken(LATER_RUN, TODAY + LATE)) == []
    assert story.call(1).outcome is Outcome.SUCCEEDED
    assert story.states == {ID: "FINISHED", **FOLLOWING}


@pytest.mark.parametrize("attempt", [1, JOB.retry.retries + 1])
@pytest.mark.parametrize("step", [Unanswered("timeout"), "lost", 409], ids=str)
def test_without_an_answer_it_may_have_been_paid_and_no_run_takes_it(story: Story, step: object, attempt: int) -> None:
    story.put(item())
    story.bank.script = [step]
    answer = story.call(attempt)
    assert (answer.outcome, answer.answered) == (None, False)
    assert story.states == {ID: "PROCESSING"}
    assert story.verdicts == {}
    assert list(story.taken(LATER_RUN, TODAY + LATE)) == []


def test_an_unanswered_call_that_comes_again_moves_nothing_twice(story: Story) -> None:
    story.put(item())
    story.bank.script = ["lost"]
    story.call(1)
    assert story.call(2).outcome is Outcome.SUCCEEDED
    assert story.bank.moved == {ID: 1}
    assert [post.headers[IDEMPOTENCY_HEADER] for post in story.bank.posts] == [ID, ID]
    assert story.states == {ID: "FINISHED", **FOLLOWING}


@pytest.mark.parametrize(
    ("step", "outcome", "error"), [("book", Outcome.SUCCEEDED, None), ("refuse", Outcome.REJECTED, "rejected")]
)
@pytest.mark.parametrize("run", [RUN, LATER_RUN])
def test_a_finished_transfer_is_not_called_again_and_ends_as_before(
    story: Story, run: str, step: str, outcome: Outcome, error: str | None
) -> None:
    story.put(item())
    story.bank.script = [step]
    story.call()
    before = story.all(TRANSFERS), story.verdicts
    story.bank.script = [503]
    answer = story.call(run=run)
    assert (answer.outcome, answer.error) == (outcome, error)
    assert len(story.bank.posts) == 1
    assert (story.all(TRANSFERS).items() >= before[0].items(), story.verdicts) == (True, before[1])


@pytest.mark.parametrize("there", [item(state="CANCELLED"), None], ids=["cancelled by the client", "gone"])
def test_what_is_not_to_be_paid_any_more_is_rejected_without_a_call(story: Story, there: dict[str, Any] | None) -> None:
    if there is not None:
        story.put(there)
    answer = story.call()
    assert answer.outcome is Outcome.REJECTED
    assert "not to be paid" in (answer.reason or "")
    assert (story.bank.posts, story.bank.gets) == ([], [])
    assert story.states == ({} if there is None else {ID: "CANCELLED"})


@pytest.mark.parametrize(("step", "moved"), [("FINISHED", 1), ("FAILED", 0)])
def test_an_answer_that_comes_late_takes_nothing_back(story: Story, step: str, moved: int) -> None:
    """The worker of an earlier attempt was slow: another one has come to an end meanwhile."""
    story.put(item())
    send = story.bank.send

    async def slow(request: Request) -> Response:
        """The first call is still on its way when a second one ends the transfer."""
        story.bank.send = send  # type: ignore[method-assign]
        assert request.method == "POST"
        story.bank.script = ["book" if step == "FINISHED" else 503]
        await asyncio.to_thread(_in_another_process, story, JOB.retry.retries + 1)
        return Response(503, {}, b"down")

    story.bank.send = slow  # type: ignore[method-assign]
    story.call(1)
    assert story.states[ID] == step
    assert story.bank.moved.total() == moved


def _in_another_process(story: Story, attempt: int) -> None:
    with asyncio.Runner() as runner:
        caller = Caller(JOB, story.bank.send, str, story.table, story.clock)
        runner.run(caller.attempt(record(RUN), message(RUN), attempt, unanswered_before=False))


def test_a_transfer_that_is_archived_meanwhile_does_not_come_back(story: Story) -> None:
    story.put(item())
    send = story.bank.send

    async def archiving(request: Request) -> Response:
        story.clients.tables.delete_item(TableName=names.table_name(ENVIRONMENT, TRANSFERS.name), Key={"id": ID})
        return await send(request)

    story.bank.send = archiving  # type: ignore[method-assign]
    assert story.call().outcome is Outcome.SUCCEEDED
    assert story.states == FOLLOWING


def test_a_verdict_that_is_kept_needs_no_other_call_also_when_the_bank_has_forgotten_the_key(story: Story) -> None:
    story.put(item())
    story.wire.kill_after(2)
    with pytest.raises(Killed):
        story.call(1)
    story.wire.heal()
    assert story.states == {ID: "PROCESSING"}
    story.bank._answers.clear()
    assert story.call(2).outcome is Outcome.SUCCEEDED
    assert story.bank.moved == {ID: 1}
    assert story.states == {ID: "FINISHED", **FOLLOWING}


def test_an_answer_that_cannot_be_kept_counts_as_none(story: Story) -> None:
    story.put(item())

    def no_writes(sent: Sent) -> None:
        if sent.operation == "PutItem":
            raise RuntimeError("DynamoDB is down")

    story.wire.before = no_writes
    answer = story.call(JOB.retry.retries + 1)
    assert (answer.outcome, answer.answered) == (None, False)
    assert story.states == {ID: "PROCESSING"}
    story.wire.heal()
    found = story.ask()
    assert found is not None
    assert found.outcome is Outcome.SUCCEEDED
    assert story.states == {ID: "FINISHED", **FOLLOWING}


# --- A transfer that another run has called ---


def left_by_another_run(story: Story, *script: object) -> None:
    story.put(item())
    story.bank.script = list(script)
    story.call(1)
    story.bank.script = []
    (entry,) = story.taken(LATER_RUN, TODAY + LATE)
    assert entry.key == ID
    story.bank.posts.clear()


@pytest.mark.parametrize(("booked", "outcome"), [(True, Outcome.SUCCEEDED), (False, Outcome.REJECTED)])
def test_it_is_asked_about_and_not_called_where_the_bank_knows_it(story: Story, booked: bool, outcome: Outcome) -> None:
    left_by_another_run(story, 503)
    # The 503 came from a proxy: the bank had carried it out.
    if booked:
        story.bank.moved[ID] = 1
    else:
        story.bank._refused.add(ID)
    story.clock.sleep(LATE)
    assert story.call(run=LATER_RUN).outcome is outcome
    assert story.bank.posts == []
    assert story.states[ID] == "FINISHED"
    assert story.verdicts[ID]["status"] == ("booked" if booked else "refused")


def test_it_is_called_where_the_bank_knows_nothing_of_it(story: Story) -> None:
    left_by_another_run(story, 503)
    story.clock.sleep(LATE)
    story.bank.script = []
    assert story.call(run=LATER_RUN).outcome is Outcome.SUCCEEDED
    assert story.bank.gets == [ID]
    assert story.bank.moved == {ID: 1}
    assert story.all(TRANSFERS)[ID]["called_by"] == LATER_RUN


def test_it_waits_until_that_call_would_show(story: Story) -> None:
    left_by_another_run(story, 503)
    called_at = story.clock.now()
    story.clock.sleep(timedelta(minutes=1))
    answer = story.call(run=RUN.replace("T05", "T06"))
    assert (answer.outcome, answer.error) == (None, "try_again")
    assert answer.retry_after == BANK.settles_within - timedelta(minutes=1)
    assert story.bank.posts == []
    assert story.states == {ID: "RETRY"}
    story.clock.set(called_at + BANK.settles_within)
    assert story.call(2, run=RUN.replace("T05", "T06")).outcome is Outcome.SUCCEEDED
    assert story.bank.moved == {ID: 1}


def test_while_the_bank_cannot_tell_it_is_not_called(story: Story) -> None:
    left_by_another_run(story, 503)
    story.clock.sleep(LATE)
    story.bank.script = [503]
    assert story.call(run=LATER_RUN).error == "http_503"
    assert story.bank.posts == []
    assert story.states == {ID: "RETRY"}


# --- The probe ---


@pytest.mark.parametrize(
    ("step", "outcome", "status"), [("book", Outcome.SUCCEEDED, "booked"), ("refuse", Outcome.REJECTED, "refused")]
)
@pytest.mark.parametrize("state", ["PROCESSING", "RETRY", "FAILED"])
def test_what_the_bank_tells_when_it_is_asked_is_written_down_like_an_answer(
    story: Story, state: str, step: str, outcome: Outcome, status: str
) -> None:
    story.put(item())
    story.bank._carry_out(
        Request("POST", "/transfers", {IDEMPOTENCY_HEADER: ID}, b'{"reference":"%s"}' % ID.encode()), step
    )
    story.put(item(state=state, called_by=RUN))
    found = story.ask()
    assert found is not None
    assert found.outcome is outcome
    assert story.bank.gets == [ID]
    assert story.bank.posts == []
    assert story.states == {ID: "FINISHED", **FOLLOWING}
    assert story.verdicts[ID]["status"] == status
    assert story.verdicts[ID]["run"] == RUN


@pytest.mark.parametrize(("state", "after"), [("PROCESSING", "RETRY"), ("FAILED", "FAILED"), ("RETRY", "RETRY")])
def test_a_call_that_never_arrived_may_be_made_again(story: Story, state: str, after: str) -> None:
    story.put(item(state=state, called_by=RUN))
    assert story.ask() is None
    assert story.states == {ID: after}
    assert story.verdicts == {}
    assert story.call(2).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("why", ["down", "undecided"])
def test_a_bank_that_cannot_tell_changes_nothing(story: Story, why: str) -> None:
    story.put(item(state="PROCESSING", called_by=RUN))
    story.bank.moved[ID] = 1
    story.bank.undecided = why == "undecided"
    story.bank.script = [503] if why == "down" else []
    before = story.all(TRANSFERS)
    found = story.ask()
    assert found is not None
    assert found.outcome is None
    assert (story.all(TRANSFERS), story.verdicts) == (before, {})


@pytest.mark.parametrize("arrived", [True, False])
def test_at_a_bank_without_keys_an_unanswered_call_is_asked_about_before_another(
    story: Story, world: World, monkeypatch: pytest.MonkeyPatch, arrived: bool
) -> None:
    """The same functions, for another bank, through the whole worker."""
    job = a_job(needs=JOB.needs)
    job.target = replace(BANK, rate=None, keys=None)
    world.declare(job, execute_transfers.execute)
    job.probe(execute_transfers.look_up)
    monkeypatch.setattr(world, "table", story.table)
    world.clock.set(DUE)
    story.put(item())
    world.report = [Entry(ID, item(), ID)]
    world.start()
    story.bank.script = ["lost" if arrived else Unanswered("timeout")]
    worker = world.worker(story.bank.send)
    assert world.work(world.batch(0), worker=worker) != []
    assert story.states == {ID: "PROCESSING"}
    for receives in range(2, 6):
        world.later(BANK.settles_within)
        world.work(world.batch(0, receives=receives), worker=world.worker(story.bank.send))
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}
    assert len(story.bank.posts) == (1 if arrived else 2)
    assert story.bank.moved == {ID: 1}
    assert story.bank.gets[0] == ID
    assert story.states[ID] == "FINISHED"
    assert story.verdicts[ID]["status"] == "booked"


# --- Deaths ---

#: Most requests that one call makes to the tables, and one more.
MOST = 8


@pytest.mark.parametrize("number", range(1, MOST))
@pytest.mark.parametrize("kill", [Wire.kill_before, Wire.kill_after])
@pytest.mark.parametrize(
    ("script", "outcome", "status"),
    [
        (["book"], Outcome.SUCCEEDED, "booked"),
        (["refuse"], Outcome.REJECTED, "refused"),
        ([503], Outcome.SUCCEEDED, "booked"),
        (["lost"], Outcome.SUCCEEDED, "booked"),
        ([Unanswered("timeout")], Outcome.SUCCEEDED, "booked"),
    ],
    ids=["booked", "refused", "down", "lost", "timeout"],
)
def test_whenever_a_worker_dies_the_next_one_ends_it_as_it_would_have(
    story: Story, script: list[object], outcome: Outcome, status: str, kill: Any, number: int
) -> None:
    story.put(item())
    story.bank.script = [*script, *(["refuse"] * 3 if script == ["refuse"] else [])]
    kill(story.wire, number)
    with suppress(Killed):
        story.call(1)
    story.wire.heal()
    answer = story.call(2)
    assert story.call(3).outcome is (answer.outcome or outcome), "once more, for a message that came twice"
    assert story.states == {ID: "FINISHED", **FOLLOWING}
    assert story.verdicts[ID]["status"] == status
    assert story.bank.moved == ({ID: 1} if status == "booked" else {})
    assert {post.headers[IDEMPOTENCY_HEADER] for post in story.bank.posts} == {ID}


@pytest.mark.parametrize("number", range(1, MOST))
@pytest.mark.parametrize("kill", [Wire.kill_before, Wire.kill_after])
def test_whenever_a_worker_dies_while_it_asks_the_next_one_finds_the_same(story: Story, kill: Any, number: int) -> None:
    story.put(item())
    story.bank.script = ["lost"]
    story.call(1)
    kill(story.wire, number)
    with suppress(Killed):
        story.ask(1)
    story.wire.heal()
    found = story.ask(2)
    assert found is not None
    assert found.outcome is Outcome.SUCCEEDED
    assert story.states == {ID: "FINISHED", **FOLLOWING}
    assert story.verdicts[ID]["status"] == "booked"
    assert story.bank.moved == {ID: 1}


def test_so_many_requests_are_all_that_a_call_makes(story: Story) -> None:
    """Else the deaths above would not reach the last of them."""
    story.put(item())
    story.bank.script = ["lost"]
    story.call(1)
    story.wire.reset()
    story.call(2)
    assert 4 <= len(story.wire.sent) < MOST


# --- The table of a local run ---


def test_a_table_with_items_is_not_filled_again(story: Story) -> None:
    fill_table(story.clients.tables, TRANSFERS, (execute_transfers.example(n) for n in range(60)))
    assert len(story.all(TRANSFERS)) == 60
    fill_table(story.clients.tables, TRANSFERS, (execute_transfers.example(n) for n in range(60, 90)))
    assert len(story.all(TRANSFERS)) == 60
    assert len(list(story.taken())) == 60
