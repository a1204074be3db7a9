"""Scheduled donations over their tables: what a run takes, and what each answer of the payment service leads to."""

import asyncio
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.jobs.donations import scheduled_donations
from functions.jobs.donations._targets import DONATION_AUDIT, DONATIONS
from rollcall import Batches, Breaker, NotSent, Outcome, Overlap, Run, Table, Unanswered
from rollcall.adapters.clients import Clients
from rollcall.adapters.tables import TableItems
from rollcall.core import names
from rollcall.core.answers import Answer
from rollcall.core.message import Message
from rollcall.core.run import RunRecord, RunState, run_id
from rollcall.core.sizing import worker_sizing
from rollcall.engine.worker.callback import Caller
from tests.functional.test_transfers import Bank
from tests.functional.world import VirtualClock
from tools.local_cloud.resources import ENVIRONMENT, fill_table, make_table

JOB = scheduled_donations.job
NOW = datetime(2026, 11, 30, 5, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ID = "DN-1-2026-11-30"


def item(name: str = ID, next_try: datetime = NOW, state: str = "due") -> dict[str, Any]:
    money = {"donor": "donor-1", "to": "charity-1", "amount": "5.00", "currency": "GBP"}
    return {"id": name, "state": state, "next_try": next_try.isoformat(), **money}


class Story:
    """The two tables, a payment service, and the job's functions as the engine calls them."""

    def __init__(self, clients: Clients, clock: VirtualClock, runner: asyncio.Runner) -> None:
        self.clients, self.clock, self.runner = clients, clock, runner
        self.bank = Bank()
        clock.set(NOW + timedelta(minutes=1))
        for table in JOB.tables:
            make_table(clients.dynamodb, table)

    def table(self, table: Table) -> TableItems:
        return TableItems(self.clients.tables, names.table_name(ENVIRONMENT, table.name))

    def put(self, *items: Mapping[str, Any]) -> None:
        fill_table(self.clients.tables, DONATIONS, items)

    def donation(self) -> dict[str, Any]:
        return dict(self.table(DONATIONS).get_item(Key={"id": ID})["Item"])

    def audited(self, at: datetime = NOW) -> dict[str, Any]:
        key = {"attempt": f"{ID}/{run_id(JOB.name, at)}"}
        return dict(self.table(DONATION_AUDIT).get_item(Key=key).get("Item", {}))

    def taken(self, at: datetime = NOW, params: Mapping[str, str] | None = None) -> list[str | None]:
        run = Run(run_id(JOB.name, at), JOB.name, at, params=params or {}, _table=self.table)
        return [entry.key for entry in JOB.entries(run) if entry.idempotency_key == entry.key]

    def charge(self, *script: object, number: int = 1, at: datetime = NOW) -> Answer:
        """One attempt of the run that was due at `at`, which the service answers by the script."""
        self.bank.script = list(script)
        run, message = self._entry(at)
        return self.runner.run(self._caller().attempt(run, message, number, unanswered_before=False))

    def ask(self, number: int = 1, at: datetime = NOW) -> Answer | None:
        """A question after the attempt of this number, as the engine asks it."""
        run, message = self._entry(at)
        return self.runner.run(self._caller().ask(run, message, number))

    def _entry(self, at: datetime) -> tuple[RunRecord, Message]:
        run = RunRecord(run_id(JOB.name, at), JOB.name, RunState.RUNNING, at, at, total=1)
        payload = {name: value for name, value in item().items() if name not in ("state", "next_try")}
        return run, Message(run.id, 1, 0, 0, 1, ID, payload, ID)

    def _caller(self) -> Caller:
        def secret(name: str) -> str:
            raise AssertionError(f"donations need no secret, and ask for {name}")

        return Caller(JOB, self.bank.send, secret, self.table, self.clock)


@pytest.fixture
def story(aws: Clients, clock: VirtualClock) -> Iterator[Story]:
    with asyncio.Runner() as runner:
        story = Story(aws, clock, runner)
        story.put(item())
        yield story


def test_the_declaration_says_what_was_asked_for() -> None:
    assert JOB.delivery == Batches(size=50, at_once=1, pause=timedelta(seconds=1), most_entries=20_000)
    assert worker_sizing(JOB).width == 50, "all of a batch at the same time"
    waits = [JOB.retry.wait(number, random.Random(0)) for number in (1, 2, 3)]  # noqa: S311
    assert (JOB.retry.retries, waits) == (3, [timedelta(seconds=seconds) for seconds in (2, 4, 8)])
    assert JOB.target.breaker == Breaker(failures=10, pause=timedelta(minutes=1))
    assert list(JOB.schedule.expressions()) == ["cron(0 * * * ? *)"]
    assert JOB.overlap is Overlap.SKIP, "never two runs at once"


def test_what_is_due_is_taken_under_a_key_of_its_own(aws: Clients, clock: VirtualClock) -> None:
    with asyncio.Runner() as runner:
        story = Story(aws, clock, runner)
        story.put(item("past"), item("later", NOW + timedelta(hours=1)), item("paid", state="paid"))
        assert story.taken() == ["past"]


def test_a_charged_donation_is_paid_and_never_taken_again(story: Story) -> None:
    assert story.charge().outcome is Outcome.SUCCEEDED
    assert story.donation()["state"] == "paid"
    assert story.taken(NOW + 2 * DAY) == []
    assert story.audited() == {}


def test_a_declined_card_is_a_rejection_in_the_audit_trail(story: Story) -> None:
    assert story.charge("refuse").outcome is Outcome.REJECTED
    assert story.donation()["state"] == "declined"
    assert story.audited()["outcome"] == "http_422"
    assert story.audited()["attempts"] == 1


@pytest.mark.parametrize(
    ("answer", "noted"), [(503, "http_503"), (NotSent("refused"), "not_sent"), (Unanswered("timed out"), "unanswered")]
)
def test_an_outage_is_audited_after_the_last_attempt_and_due_again_a_day_later(
    story: Story, answer: object, noted: str
) -> None:
    assert story.charge(answer, number=4).outcome is None
    assert (story.audited()["outcome"], story.audited()["attempts"]) == (noted, 4)
    assert story.donation()["state"] == "due"
    assert story.taken(NOW + timedelta(hours=23)) == []
    assert story.taken(NOW + DAY) == [ID]


def test_a_question_that_is_not_answered_is_audited_too(story: Story) -> None:
    story.charge(503, number=1)
    assert story.audited() == {}
    assert story.charge(503, number=4).outcome is None
    assert (story.audited()["outcome"], story.audited()["attempts"]) == ("http_503", 4)
    assert len(story.bank.posts) == 1
    assert story.donation()["state"] == "due"


def test_a_service_that_cannot_tell_is_audited_after_the_last_attempt(story: Story) -> None:
    story.charge("lost", number=1)
    story.bank.undecided = True
    story.charge(number=4)
    assert (story.audited()["outcome"], story.audited()["attempts"]) == ("undecided", 4)


def test_what_asking_finds_stands_in_place_of_the_attempt_without_an_answer(story: Story) -> None:
    story.charge("lost", number=4)
    assert story.audited()["outcome"] == "unanswered"
    found = story.ask(number=4)
    assert found is not None
    assert found.outcome is Outcome.SUCCEEDED
    assert (story.audited()["outcome"], story.donation()["state"]) == ("paid", "paid")


def test_by_hand_one_donors_can_be_charged(story: Story) -> None:
    story.table(DONATIONS).put_item(Item=item("other") | {"donor": "donor-2"})
    assert story.taken(params={}) == [ID, "other"]
    assert story.taken(params={"donor": "donor-2"}) == ["other"]


def test_an_attempt_that_is_not_the_last_is_no_failure_yet(story: Story) -> None:
    assert story.charge(503, number=1).outcome is None
    assert story.audited() == {}


def test_money_that_moved_without_an_answer_is_found_a_day_later_and_not_moved_again(story: Story) -> None:
    story.charge("lost")
    assert story.donation()["state"] == "due"
    story.bank._answers.clear()  # it has forgotten the key by then
    assert story.charge(at=NOW + DAY).outcome is Outcome.SUCCEEDED
    assert story.donation()["state"] == "paid"
    assert story.bank.moved == {ID: 1}


def test_a_call_that_comes_after_the_end_changes_nothing(story: Story) -> None:
    story.charge()
    assert story.charge().outcome is Outcome.SUCCEEDED
    assert len(story.bank.posts) == 1
