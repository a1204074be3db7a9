"""Messages of an SQS event, matched with entries of open runs; all others are dropped."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rollcall.adapters.ledger.records import (
    Ledger,
    job_key,
    job_record,
    run_key,
    run_record,
    target_key,
    target_record,
)
from rollcall.core.actions import Action, log
from rollcall.core.clock import Clock
from rollcall.core.errors import InvalidMessage
from rollcall.core.job import Job
from rollcall.core.message import SENT_AGAIN, Message
from rollcall.core.run import OPEN, JobRecord, RunRecord, RunState, TargetRecord
from rollcall.core.tree import Node

#: Age after which the records of runs, job and target are read again. A pause or cancellation takes this long to act.
CONTROL_AGE = timedelta(seconds=5)
#: Characters of a reason and of a message id in the log line of a dropped message.
SHOWN_REASON = 300
SHOWN_ID = 100


@dataclass(frozen=True, slots=True)
class Delivery:
    """A received message that is an entry of a run's current generation."""

    message_id: str
    receipt: str
    message: Message
    #: True if the message was received before, or resent after a crash; the entry may have been called.
    again: bool
    #: The earliest possible time of its first call in this generation.
    first_received: datetime
    #: Its message group.
    group: str
    run: RunRecord

    @property
    def chunk(self) -> Node:
        return Node(0, self.message.chunk)

    @property
    def position(self) -> int:
        return self.run.tree.chunk_of(self.message.index)[1]


class Control:
    """A cache of the records that may stop a job's calls: its runs, the job, its target.

    Records older than CONTROL_AGE are read again.
    """

    def __init__(self, ledger: Ledger, job: Job, clock: Clock) -> None:
        self._ledger = ledger
        self._job = job
        self._clock = clock
        self._known: dict[str, tuple[datetime, RunRecord]] = {}
        self._read_at = datetime.min.replace(tzinfo=UTC)
        self.job = JobRecord(job.name)
        self.target = TargetRecord(job.target.name)

    def runs(self, names: Iterable[str], *, fresh: bool = False) -> Mapping[str, RunRecord]:
        """Return the runs that exist, by id.

        The records of job and target are at least as recent. With `fresh`, all are read again.
        """
        wanted, now = sorted(set(names)), self._clock.now()
        stale = [
            name for name in wanted if fresh or name not in self._known or now - self._known[name][0] > CONTROL_AGE
        ]
        if stale or now - self._read_at > CONTROL_AGE:
            self._read(stale, now)
        return {name: self._known[name][1] for name in wanted if name in self._known}

    def _read(self, runs: Iterable[str], now: datetime) -> None:
        about_job, about_target = job_key(self._job.name), target_key(self._job.target.name)
        items = self._ledger.items([*map(run_key, runs), about_job, about_target])
        self.job = job_record(self._job.name, items.pop(about_job, {}))
        self.target = target_record(self._job.target.name, items.pop(about_target, {}))
        self._read_at = now
        self._known = {name: known for name, known in self._known.items() if now - known[0] <= CONTROL_AGE}
        self._known |= {run.id: (now, run) for run in map(run_record, items.values())}


def deliveries(records: Iterable[Mapping[str, Any]], control: Control, job: str) -> list[Delivery]:
    """Return the entries among an event's records, in order; drop and log the others.

    A dropped message loses no entry: it belongs to another job, its run is unknown or has ended, or its numbers do
    not match the run.
    """
    parsed = [(record, message) for record in records if (message := _message(record, job)) is not None]
    if not parsed:
        return []
    runs = control.runs(message.run for _, message in parsed)
    if any(objection(message, runs.get(message.run)) for _, message in parsed):
        # A cached record may be outdated: a redrive may have opened a generation since. Read again before dropping.
        runs = control.runs((message.run for _, message in parsed), fresh=True)
    found = []
    for record, message in parsed:
        run = runs.get(message.run)
        reason = objection(message, run)
        if run is None or reason is not None:
            dropped(record, reason or "its run is not known", message)
            continue
        marked = SENT_AGAIN in (record.get("messageAttributes") or {})
        received = _first_receive(record)
        found.append(
            Delivery(
                message_id=record["messageId"],
                receipt=record["receiptHandle"],
                message=message,
                again=marked or _received_before(record),
                first_received=run.started_at if marked or received is None else received,
                group=str(_told(record, "MessageGroupId") or message.group),
                run=run,
            )
        )
    return found


def message_of(record: Mapping[str, Any]) -> Message:
    """Parse a record; raise InvalidMessage if no dispatch can have sent it."""
    message = Message.parse(record.get("body"))
    if (group := _told(record, "MessageGroupId")) is not None and group != message.group:
        raise InvalidMessage("its message group is not its entry's")
    return message


def objection(message: Message, run: RunRecord | None) -> str | None:
    """Return why `message` must be neither called nor settled, or None."""
    if run is None:
        return "its run is not known"
    if run.state not in OPEN and run.state is not RunState.CANCELLING:
        return f"its run is {run.state}"
    return message.objection(run)


def dropped(record: Mapping[str, Any], reason: str, message: Message | None = None, *, kept: str | None = None) -> None:
    """Log a dropped message, by run and index or else by the hash of its body."""
    about: dict[str, object] = {"kept": kept} if kept is not None else {}
    if message is not None:
        about |= message.named
    else:
        body = str(record.get("body"))
        about |= {"characters": len(body), "sha256": hashlib.sha256(body.encode("utf-8", "replace")).hexdigest()}
    message_id = str(record.get("messageId"))[:SHOWN_ID]
    log(Action.MESSAGE_DROPPED, logging.WARNING, reason=reason[:SHOWN_REASON], message_id=message_id, **about)


def _message(record: Mapping[str, Any], job: str) -> Message | None:
    """Parse a record; drop it if it is another job's, or has no id to report in the answer."""
    try:
        message = message_of(record)
    except InvalidMessage as error:
        dropped(record, str(error))
        return None
    reason = f"it is of the job {message.job}" if message.job != job else _nameless(record)
    if reason is not None:
        dropped(record, reason, message)
        return None
    return message


def _nameless(record: Mapping[str, Any]) -> str | None:
    missing = [name for name in ("messageId", "receiptHandle") if not isinstance(record.get(name), str)]
    return f"its record has no {missing[0]}" if missing else None


def _told(record: Mapping[str, Any], name: str) -> object:
    """Return an SQS attribute of a message, or None."""
    return (record.get("attributes") or {}).get(name)


def _received_before(record: Mapping[str, Any]) -> bool:
    """Return True if the message may have been received before, also without a receive count."""
    return _told(record, "ApproximateReceiveCount") != "1"


def _first_receive(record: Mapping[str, Any]) -> datetime | None:
    """Return the time of the first receive; None if the record has none.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
    """
    try:
        stamp = int(str(_told(record, "ApproximateFirstReceiveTimestamp")))
        return datetime.fromtimestamp(stamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
