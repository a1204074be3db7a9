"""Old transfers are moved to files: each row is in exactly one verified file or still in the table, whatever dies."""

import asyncio
import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest

from functions.jobs.transfers import _archive, archive_transfers
from functions.jobs.transfers._states import State
from functions.jobs.transfers._targets import ARCHIVE, BACKUPS, PROVIDER_STATUS, TRANSFERS
from functions.jobs.transfers._transfers import Verdict
from rollcall import Bucket, Outcome, Run, SourceError, Table
from rollcall.adapters.buckets import BucketObjects
from rollcall.adapters.clients import Clients
from rollcall.adapters.tables import TableItems
from rollcall.core import names
from rollcall.core.answers import Answer
from rollcall.core.message import Message
from rollcall.core.run import RunRecord, RunState, run_id
from rollcall.engine.worker.callback import Caller
from tests.functional.wire import Killed, Sent, Wire
from tests.functional.world import VirtualClock
from tools.local_cloud.resources import ENVIRONMENT, bucket_name, make_bucket, make_table

JOB = archive_transfers.job
#: Of the 24 months of 2023 and 2024, all are older than six months.
TODAY = datetime(2025, 7, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MONTHS = [f"{year}-{month:02}" for year in (2023, 2024) for month in range(1, 13)]
TABLES = {TRANSFERS.name: TRANSFERS, PROVIDER_STATUS.name: PROVIDER_STATUS}

Rows = dict[tuple[str, str], dict[str, str]]


def a_transfer(n: int = 0, **other: Any) -> dict[str, Any]:
    return {**archive_transfers.example(n), **other}


class Story:
    """The tables and the bucket, and the job's functions as the engine calls them."""

    def __init__(self, clients: Clients, wire: Wire, clock: VirtualClock, runner: asyncio.Runner) -> None:
        self.clients, self.wire, self.clock, self.runner = clients, wire, clock, runner
        clock.set(TODAY)
        for table in JOB.tables:
            make_table(clients.dynamodb, table)
        make_bucket(clients.s3, ARCHIVE)
        self.bucket_name = bucket_name(ARCHIVE)

    def table(self, table: Table) -> TableItems:
        return TableItems(self.clients.tables, names.table_name(ENVIRONMENT, table.name))

    def bucket(self, bucket: Bucket = ARCHIVE) -> BucketObjects:
        assert bucket == ARCHIVE
        return BucketObjects(self.clients.s3, self.bucket_name)

    def put(self, *transfers: Mapping[str, Any]) -> None:
        """Transfers, with what the bank said of the finished ones."""
        for item in transfers:
            self.table(TRANSFERS).put_item(Item=item)
            if item["state"] == State.FINISHED:
                said = Verdict(booked=True, answer='{"said": "yes,\r\n ""well"""}').item(item["id"], "r")
                self.table(PROVIDER_STATUS).put_item(Item=said)

    # --- runs ---

    def parts(self, at: datetime = TODAY, **params: str) -> list[tuple[str, Any]]:
        """What the source yields."""
        run = Run(run_id(JOB.name, at), JOB.name, at, 1, params, _table=self.table, _bucket=self.bucket)
        return [(str(entry.key), entry.payload) for entry in JOB.entries(run)]

    def call(self, key: str, payload: Any, at: datetime = TODAY) -> Answer:
        run = RunRecord(run_id(JOB.name, at), JOB.name, RunState.RUNNING, at, at, total=1)

        async def send(request: object) -> Any:
            raise AssertionError(f"the archive calls nobody, and asks for {request}")

        def secret(name: str) -> str:
            raise AssertionError(name)

        caller = Caller(JOB, send, secret, self.table, self.clock, self.bucket)
        message = Message(run.id, 1, 0, 0, 1, key, payload, None)
        return self.runner.run(caller.attempt(run, message, 1, unanswered_before=False))

    def run(self, at: datetime = TODAY, **params: str) -> dict[str, Answer]:
        """A whole run, one part after another, as the batches bring them."""
        return {key: self.call(key, payload, at) for key, payload in self.parts(at, **params)}

    # --- what came of it ---

    def in_tables(self) -> Rows:
        found: Rows = {}
        for name, table in TABLES.items():
            for item in self.clients.tables.scan(TableName=names.table_name(ENVIRONMENT, name))["Items"]:
                found[name, str(item[table.key])] = {each: str(value) for each, value in item.items()}
        return found

    def in_files(self) -> list[tuple[tuple[str, str], dict[str, str]]]:
        """The rows of all files, each of which is what it was added with."""
        found = []
        for key in list(self.bucket().keys()):
            body = self.clients.s3.get_object(Bucket=self.bucket_name, Key=key)["Body"].read()
            rows = list(csv.DictReader(StringIO(body.decode(), newline="")))
            facts = {"rows": str(len(rows)), "sha256": hashlib.sha256(body).hexdigest()}
            assert self.bucket().facts(key) == facts
            table = key.split("/")[0]
            found += [
                ((table, row[TABLES[table].key]), {name: cell for name, cell in row.items() if cell}) for row in rows
            ]
        return found

    def last_backup(self) -> str | None:
        item = self.table(BACKUPS).get_item(Key={"job": JOB.name}).get("Item")
        return None if item is None else str(item["at"])

    def check_exactly_once(self, before: Rows, *, wholly: bool = True) -> None:
        """Every row is in one file or in its table; while somebody is at it, a row may be in both."""
        filed, left = self.in_files(), self.in_tables()
        assert max(Counter(key for key, _ in filed).values(), default=1) == 1, "no row is in two files"
        for key, row in filed:
            assert row == before[key], "a file holds the row as it was"
        if wholly:
            assert not left.keys() & dict(filed).keys()
        assert left.keys() | dict(filed).keys() == before.keys(), "no row is lost"


@pytest.fixture
def story(aws: Clients, wire: Wire, clock: VirtualClock) -> Iterator[Story]:
    with asyncio.Runner() as runner:
        yield Story(aws, wire, clock, runner)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests in an order that is the same every time."""
    monkeypatch.setattr(_archive, "AT_ONCE", 1)


def succeeded(answers: Mapping[str, Answer]) -> bool:
    return {answer.outcome for answer in answers.values()} == {Outcome.SUCCEEDED}


# --- What is archived ---


def test_an_archive_moves_month_after_month(story: Story) -> None:
    story.put(*(a_transfer(n) for n in range(72)))
    before = story.in_tables()
    assert [key for key, _ in story.parts()] == [*MONTHS, "the end"]
    assert succeeded(story.run())
    story.check_exactly_once(before)
    left = {key: row for key, row in story.in_tables().items() if key[0] == TRANSFERS.name}
    assert {row["state"] for row in left.values()} == {"PROCESSING"}
    assert story.last_backup() == TODAY.isoformat()


def test_a_transfer_in_flight_stays_with_all_that_is_known_of_it(story: Story) -> None:
    for n, state in enumerate(State):
        story.put(a_transfer(24 * n, state=state.value))
    story.run()
    left = {row["state"] for (table, _), row in story.in_tables().items() if table == TRANSFERS.name}
    assert left == {"PENDING", "IN_FLY", "PROCESSING", "RETRY"}


def test_only_what_is_older_than_so_many_months_is_archived(story: Story) -> None:
    story.put(a_transfer(0, due="2024-12-31"), a_transfer(24, due="2025-01-01"), a_transfer(48, due="2025-01-02"))
    story.run(TODAY + DAY)
    left = [row["due"] for (table, _), row in story.in_tables().items() if table == TRANSFERS.name]
    assert left == ["2025-01-02"]


def test_the_months_are_parameters_of_a_manual_start(story: Story) -> None:
    story.put(a_transfer(0, due="2025-01-31"), a_transfer(24, due="2025-03-01"))
    assert [key for key, _ in story.parts(TODAY, RT_BACKUP_BEFORE_MONTHS="4")] == ["2025-01", "the end"]
    for wrong in ({"RT_BACKUP_BEFORE_MONTHS": "3"}, {"RT_MONTHLY_BACKUP": "0"}, {"RT_MONTHLY_BACKUP": "yearly"}):
        with pytest.raises(SourceError, match="whole months"):
            story.parts(TODAY, **wrong)


# --- When it runs ---


def test_the_first_time_is_kept_even_if_there_was_nothing(story: Story) -> None:
    assert succeeded(story.run())
    assert story.last_backup() == TODAY.isoformat()


def test_a_later_one_runs_after_twelve_months_and_keeps_its_time_only_if_it_archived_something(story: Story) -> None:
    story.run()
    story.put(a_transfer())
    assert story.parts(TODAY + 364 * DAY) == []
    year = TODAY + 365 * DAY
    assert [key for key, _ in story.parts(year)] == ["2023-01", "the end"]
    story.run(year)
    assert story.last_backup() == year.isoformat()
    two = year + 365 * DAY
    assert story.run(two) == {}
    assert story.last_backup() == year.isoformat()
    story.put(a_transfer(1))
    story.run(two + DAY)
    assert story.last_backup() == (two + DAY).isoformat()


def test_a_run_that_left_something_keeps_no_time_and_the_next_day_goes_on(story: Story) -> None:
    story.put(a_transfer(0), a_transfer(1, odd="attribute"))
    answers = story.run()
    assert answers["2023-02"].outcome is Outcome.REJECTED
    assert "odd" in str(answers["2023-02"].reason)
    assert answers["the end"].outcome is None
    assert story.last_backup() is None
    story.table(TRANSFERS).put_item(Item=a_transfer(1))
    assert succeeded(story.run(TODAY + DAY))
    assert story.last_backup() == (TODAY + DAY).isoformat()


# --- Verified, and deleted only then ---


def test_nothing_is_deleted_of_a_file_that_is_not_what_was_written(story: Story) -> None:
    story.put(a_transfer())
    before = story.in_tables()
    story.wire.before = lambda sent: pytest.fail("deleted") if sent.operation == "DeleteItem" else None
    wrong = {"rows": "1", "sha256": hashlib.sha256(b"another").hexdigest()}
    body = b"transfer,status,answer,run\r\nRT-0000000-2023-01-01,booked,,r\r\n"
    story.clients.s3.put_object(
        Bucket=story.bucket_name, Key="provider-status/2023-01/0001.csv", Body=body, Metadata=wrong
    )
    answer = story.run()["2023-01"]
    assert answer.outcome is None
    assert "nothing of it is deleted" in str(answer.reason)
    assert story.in_tables() == before


def test_every_file_is_read_back_before_the_first_of_its_rows_is_deleted(story: Story, one_by_one: None) -> None:
    del one_by_one
    story.put(a_transfer(), a_transfer(24))
    story.wire.reset()
    story.run()
    operations = [sent.operation for sent in story.wire.sent]
    wrote = [number for number, operation in enumerate(operations) if operation == "PutObject"]
    assert len(wrote) == 2
    for number in wrote:
        after = operations[number:]
        assert after.index("GetObject") < after.index("HeadObject") < after.index("DeleteItem")


def test_a_row_that_changes_before_it_is_deleted_stays_and_goes_into_a_further_file(story: Story) -> None:
    story.put(a_transfer(7))
    changed = a_transfer(7, called_by="somebody")

    def change(sent: Sent) -> None:
        if sent.operation == "GetObject":
            story.wire.heal()
            story.table(TRANSFERS).put_item(Item=changed)

    story.wire.before = change
    assert succeeded(story.run())
    versions = [row.get("called_by") for (table, _), row in story.in_files() if table == TRANSFERS.name]
    assert versions == [None, "somebody"]
    assert story.in_tables() == {}


def test_a_row_that_appears_late_in_an_archived_month_goes_to_a_further_file(story: Story) -> None:
    story.put(a_transfer(0))
    story.run()
    story.put(a_transfer(24))
    before = dict(story.in_files()) | story.in_tables()
    story.run(TODAY + 366 * DAY)
    story.check_exactly_once(before)
    assert "transfers/2023-01/0002.csv" in list(story.bucket().keys())


def test_a_transfer_stays_as_long_as_what_the_bank_said_of_it(story: Story) -> None:
    story.put(a_transfer(7))
    late = Verdict(booked=True, answer="late").item(str(a_transfer(7)["id"]), "r")

    def say(sent: Sent) -> None:
        if sent.operation == "ListObjectsV2":
            story.wire.heal()
            story.wire.before = say_after

    def say_after(sent: Sent) -> None:
        if sent.operation == "ListObjectsV2":
            story.wire.heal()
            story.table(PROVIDER_STATUS).put_item(Item=late)

    story.wire.before = say
    assert story.run()["the end"].outcome is None
    assert len(story.in_tables()) == 2
    assert succeeded(story.run(TODAY + DAY))
    assert story.in_tables() == {}


# --- Killed at every step ---


def of_24_months(story: Story, each: int = 1) -> Rows:
    story.put(*(a_transfer(24 * (4 * n + 1) + month) for n in range(each) for month in range(24)))
    return story.in_tables()


#: Requests of one month with two transfers.
STEPS = 40


def test_a_month_makes_no_more_requests_than_these_stories_kill(story: Story, one_by_one: None) -> None:
    del one_by_one
    of_24_months(story, 2)
    key, payload = story.parts()[0]
    story.wire.reset()
    story.call(key, payload)
    assert 20 < len(story.wire.sent) <= STEPS


@pytest.mark.parametrize(
    ("step", "lost"), [(step, "request" if step % 2 else "answer") for step in range(1, STEPS + 1)]
)
def test_an_archive_of_24_months_that_dies_at_any_step_has_each_row_once(
    story: Story, step: int, lost: str, one_by_one: None
) -> None:
    """It dies at the same step of a first and of a second life, in another month for each step."""
    del one_by_one
    before = of_24_months(story, 2)
    parts = story.parts()
    month = step % 3
    for key, payload in parts[:month]:
        story.call(key, payload)
    for _ in range(2):
        (story.wire.kill_before if lost == "request" else story.wire.kill_after)(step)
        with suppress(Killed):
            story.call(*parts[month])
        story.wire.heal()
        story.check_exactly_once(before, wholly=False)
    story.call(*parts[month])
    story.check_exactly_once(before)


@pytest.mark.parametrize("at_once", [1, _archive.AT_ONCE])
@pytest.mark.parametrize("lost", ["request", "answer"])
def test_an_archive_of_24_months_that_dies_again_and_again_ends_with_each_row_in_one_file(
    story: Story, lost: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each life dies some requests later than the one before, source and all, until one gets through."""
    monkeypatch.setattr(_archive, "AT_ONCE", at_once)
    before = of_24_months(story, 2)
    for number in range(1, 2_000, 97):
        (story.wire.kill_before if lost == "request" else story.wire.kill_after)(number)
        try:
            through = succeeded(story.run())
        except Killed:
            through = False
        story.wire.heal()
        story.check_exactly_once(before, wholly=False)
        if through:
            break
    assert story.last_backup() == TODAY.isoformat()
    story.check_exactly_once(before)
    assert not any(row["state"] in ("FINISHED", "FAILED") for row in story.in_tables().values() if "due" in row)


def test_two_at_once_write_no_row_twice(story: Story, one_by_one: None) -> None:
    """While one is about to write its file, a row turns up and another one does the whole month."""
    del one_by_one
    before = of_24_months(story, 2)
    key, payload = story.parts()[0]
    late = a_transfer(24 * 9)

    def other(sent: Sent) -> None:
        if sent.operation == "PutObject":
            story.wire.heal()
            story.put(late)
            before.update(story.in_tables())
            with asyncio.Runner() as runner:
                Story.call(_other(story, runner), key, payload)

    story.wire.before = other
    assert story.call(key, payload).outcome is Outcome.SUCCEEDED
    story.check_exactly_once(before)


def _other(story: Story, runner: asyncio.Runner) -> Story:
    other = Story.__new__(Story)
    other.__dict__.update(vars(story), runner=runner)
    return other
