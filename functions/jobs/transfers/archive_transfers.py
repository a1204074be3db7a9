"""Move old transfers and the bank's verdicts from their tables to CSV files in S3, by month.

It is due every day and does something every `RT_MONTHLY_BACKUP` months: then everything that was due more than
`RT_BACKUP_BEFORE_MONTHS` months before that day is archived. An entry is a month, moved as `_archive.py` says:
first the bank's words (`provider-status/<month>/<number>.csv`), then the transfers that have none in the table any
more (`transfers/<month>/<number>.csv`). Only FINISHED and FAILED ones are moved; what is in flight stays.

The last entry keeps the time of the backup, once nothing is left to archive: of the first one in any case, of a later
one only if it had something to archive. So what a run could not archive is tried again by the next day's.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from functions.jobs.transfers._archive import Archive, Columns, at_once
from functions.jobs.transfers._calendar import Interval, in_month, months_later
from functions.jobs.transfers._states import ARCHIVED, State
from functions.jobs.transfers._targets import ARCHIVE, BACKUPS, PROVIDER_STATUS, TABLES, TRANSFERS
from functions.jobs.transfers._transfers import Transfer, Verdict
from rollcall import Batches, Call, ConditionFailed, Entry, Items, Job, Retry, Run, SourceError, TryAgain, daily

#: Every how many months it really runs, and how many months before that day it archives; a manual start may give
#: others, as parameters of these names.
RT_MONTHLY_BACKUP = 12
RT_BACKUP_BEFORE_MONTHS = 6
#: A run of `execute-transfers` can be redriven while its manifest is kept, 90 days, and creates the transfers that
#: follow: none of those may have been archived, or it would be paid again.
LEAST_BEFORE_MONTHS = 4
#: Fifty years.
MOST_MONTHS = 600

_OWN = [field.alias or name for name, field in Transfer.model_fields.items()]
COLUMNS: Columns = {
    **dict.fromkeys((*_OWN, "state", "run", "called_by", "called_at"), str),
    "day": Decimal,
}
VERDICT_COLUMNS: Columns = dict.fromkeys(("transfer", "status", "answer", "run"), str)

job = Job(
    "archive-transfers",
    schedule=daily("00:00", timezone="UTC"),
    target=TABLES,
    concurrency=1,
    needs=[TRANSFERS.with_deletion(), PROVIDER_STATUS.with_deletion(), BACKUPS, ARCHIVE],
    delivery=Batches(size=1, at_once=1, pause=timedelta(seconds=1), most_entries=MOST_MONTHS),
    retry=Retry(retries=3, first=timedelta(seconds=5), factor=3),
    deadline=timedelta(hours=12),
)


class Month(BaseModel):
    """The transfers due from `first` up to, but not on, `before`.

    `before` lies in the same month, or begins the next.
    """

    first: date
    before: date

    @property
    def name(self) -> str:
        return f"{self.first:%Y-%m}"


class End(BaseModel):
    """All months up to `archived_before` are through."""

    archived_before: date


@job.source
def months(run: Run) -> Iterator[Entry]:
    today = run.scheduled_for.date()
    every = _months_of(run.params, "RT_MONTHLY_BACKUP", RT_MONTHLY_BACKUP, least=1)
    before_months = _months_of(run.params, "RT_BACKUP_BEFORE_MONTHS", RT_BACKUP_BEFORE_MONTHS, LEAST_BEFORE_MONTHS)
    last = last_backup(run.table(BACKUPS))
    if last is not None and today < months_later(last, every, last.day):
        return
    before = months_later(today, -before_months, today.day)
    found = False
    for month in old_months(run.table(TRANSFERS), before):
        found = True
        yield Entry(month.name, month.model_dump(mode="json"))
    if found or last is None:
        yield Entry("the end", End(archived_before=before).model_dump(mode="json"))


@job.callback
def archive(part: Month | End, call: Call) -> None:
    if isinstance(part, End):
        _keep_time(part, call)
        return
    transfers, verdicts = call.table(TRANSFERS), call.table(PROVIDER_STATUS)
    objects = call.bucket(ARCHIVE)
    folder = f"{PROVIDER_STATUS.name}/{part.name}"
    Archive(objects, folder, verdicts, PROVIDER_STATUS.key, VERDICT_COLUMNS).move(
        lambda: _verdicts(transfers, verdicts, part)
    )
    folder = f"{TRANSFERS.name}/{part.name}"
    Archive(objects, folder, transfers, TRANSFERS.key, COLUMNS).move(lambda: _transfers(transfers, verdicts, part))


def _months_of(params: Mapping[str, str], name: str, default: int, least: int) -> int:
    given = params.get(name, str(default))
    if not given.isdecimal() or not least <= int(given) <= MOST_MONTHS:
        raise SourceError(f"{name} is {given!r}; take {least} to {MOST_MONTHS} whole months")
    return int(given)


# --- What is old ---


def old_months(transfers: Items, before: date) -> Iterator[Month]:
    """Yield the months with transfers to archive that were due before `before`, oldest first."""
    day = date.min
    while (oldest := _oldest(transfers, day, before)) is not None:
        following = in_month(oldest.year, oldest.month, 1)
        yield Month(first=oldest.replace(day=1), before=min(following, before))
        day = following


def _oldest(transfers: Items, first: date, before: date) -> date | None:
    """When the oldest transfer to archive was due, from `first` up to `before`."""
    if first >= before:
        return None
    found = [date.fromisoformat(page["Items"][0]["due"]) for page in _of_states(transfers, first, before, Limit=1)]
    return min(found, default=None)


def _of_states(transfers: Items, first: date, before: date, **more: Any) -> Iterator[Mapping[str, Any]]:
    """A page for each final state that has any."""
    for state in ARCHIVED:
        page = transfers.query(**_between(state, first, before), **more)
        if page["Items"]:
            yield page


def _between(state: State, first: date, before: date) -> dict[str, Any]:
    return {
        "IndexName": "by-state",
        "KeyConditionExpression": "#state = :state AND #due BETWEEN :first AND :last",
        "ExpressionAttributeNames": {"#state": "state", "#due": "due"},
        "ExpressionAttributeValues": {
            ":state": state.value,
            ":first": first.isoformat(),
            ":last": (before - timedelta(days=1)).isoformat(),
        },
    }


def _names(transfers: Items, month: Month) -> Iterator[str]:
    """The transfers of a month, as the index has them, a page at a time."""
    for state in ARCHIVED:
        page: dict[str, Any] = {}
        while True:
            found = transfers.query(**_between(state, month.first, month.before), **page)
            yield from (item["id"] for item in found["Items"])
            if "LastEvaluatedKey" not in found:
                break
            page = {"ExclusiveStartKey": found["LastEvaluatedKey"]}


def _verdicts(transfers: Items, verdicts: Items, month: Month) -> Iterable[Mapping[str, Any]]:
    """Read the bank's verdicts on the transfers of a month from the table."""
    found = at_once(lambda name: _item(verdicts, PROVIDER_STATUS.key, name), _names(transfers, month))
    return (item for item in found if item is not None)


def _transfers(transfers: Items, verdicts: Items, month: Month) -> Iterable[Mapping[str, Any]]:
    """The transfers of a month as they stand in the table now, where nothing that the bank said needs them there."""

    def read(name: str) -> Mapping[str, Any] | None:
        item = _item(transfers, TRANSFERS.key, name)
        if item is None or item["state"] not in ARCHIVED or not str(month.first) <= item["due"] < str(month.before):
            return None
        return item if _item(verdicts, PROVIDER_STATUS.key, name) is None else None

    return (item for item in at_once(read, _names(transfers, month)) if item is not None)


def _item(items: Items, key: str, name: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = items.get_item(Key={key: name}, ConsistentRead=True).get("Item")
    return found


# --- The time of the last backup ---


def last_backup(backups: Items) -> date | None:
    """The day of the last backup."""
    found = _item(backups, BACKUPS.key, job.name)
    return None if found is None else datetime.fromisoformat(found["at"]).date()


def _keep_time(end: End, call: Call) -> None:
    left = _oldest(call.table(TRANSFERS), date.min, end.archived_before)
    if left is not None:
        raise TryAgain(f"there are transfers of {left:%Y-%m} left to archive")
    at = call.scheduled_for.isoformat()
    try:
        call.table(BACKUPS).update_item(
            Key={BACKUPS.key: job.name},
            UpdateExpression="SET #at = :at",
            ConditionExpression="attribute_not_exists(#at) OR #at < :at",
            ExpressionAttributeNames={"#at": "at"},
            ExpressionAttributeValues={":at": at},
        )
    except ConditionFailed:
        # A later run, or this one before.
        return


# --- Examples ---


@job.example
def example(n: int) -> dict[str, object]:
    """An item of `transfers`, due in one of the 24 months of 2023 and 2024; one of fifty is still in flight."""
    series, day = f"RT-{n:07}", in_month(2023, n % 24, 1 + n % 31)
    found = Transfer.model_validate(
        {
            "id": f"{series}-{day}",
            "series": series,
            "due": day,
            "interval": Interval.MONTHLY,
            "day": 1 + n % 31,
            "from": f"GB{n % 89:02}ROLL{n:08}",
            "to": f"GB{n % 83:02}BANK{n % 997:08}",
            "amount": f"{5 + n % 900}.{n % 100:02}",
            "currency": "GBP",
        }
    )
    in_flight = State.PROCESSING if n % 50 == 49 else State.FINISHED
    return found.item(State.FAILED if n % 20 == 7 else in_flight)


@job.example_item(PROVIDER_STATUS)
def example_verdict(n: int) -> dict[str, str] | None:
    """Return the bank's verdict on the n-th transfer, or None."""
    transfer = example(n)
    if transfer["state"] != State.FINISHED:
        return None
    return Verdict(n % 30 != 0, f'{{"reference": "{transfer["id"]}"}}').item(str(transfer["id"]), "execute-transfers")
