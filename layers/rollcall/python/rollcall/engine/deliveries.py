"""From the records of an SQS event to entries of runs; what is no entry of a run under way is dropped here."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rollcall.adapters.ledger import Ledger
from rollcall.core.actions import Action, log
from rollcall.core.clock import Clock
from rollcall.core.errors import InvalidMessage
from rollcall.core.message import SENT_AGAIN, Message
from rollcall.core.run import OPEN, RunRecord, RunState
from rollcall.core.tree import Node

#: How long a run's state is believed without another look.
CONTROL_AGE = timedelta(seconds=5)
#: What is shown of a dropped message.
SHOWN_BODY = 500


@dataclass(frozen=True, slots=True)
class Delivery:
    """A received message that is an entry of a run's present generation."""

    message_id: str
    receipt: str
    message: Message
    #: Received before, or marked by a take-over: it may have been called.
    again: bool
    run: RunRecord

    @property
    def chunk(self) -> Node:
        return Node(0, self.message.chunk)

    @property
    def position(self) -> int:
        return self.run.tree.chunk_of(self.message.index)[1]


class Control:
    """The states of runs, each read again once it is older than `CONTROL_AGE`."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._known: dict[str, tuple[datetime, RunRecord]] = {}

    def runs(self, names: Iterable[str]) -> Mapping[str, RunRecord]:
        """The runs that exist, by id."""
        wanted, now = set(names), self._clock.now()
        stale = [name for name in wanted if name not in self._known or now - self._known[name][0] > CONTROL_AGE]
        if stale:
            self._known = {name: known for name, known in self._known.items() if now - known[0] <= CONTROL_AGE}
            self._known |= {name: (now, run) for name, run in self._ledger.runs(stale).items()}
        return {name: self._known[name][1] for name in wanted if name in self._known}


def deliveries(records: Iterable[Mapping[str, Any]], control: Control, job: str) -> list[Delivery]:
    """The entries among an event's records, in their order; every other record is dropped with a log line.

    A dropped message harms nobody: it is not of this job, its run is not known or has ended, or its numbers are
    not the run's.
    """
    parsed = [(record, message) for record in records if (message := _message(record)) is not None]
    runs = control.runs(message.run for _, message in parsed)
    found = []
    for record, message in parsed:
        run = runs.get(message.run)
        reason = objection(message, run, job)
        if run is None or reason is not None:
            dropped(record, reason or "its run is not known")
            continue
        found.append(Delivery(record["messageId"], record["receiptHandle"], message, _again(record), run))
    return found


def objection(message: Message, run: RunRecord | None, job: str) -> str | None:
    """Why `message` must neither be called nor settled, or None."""
    if message.job != job:
        return f"it is of the job {message.job}"
    if run is None:
        return "its run is not known"
    if run.state not in OPEN and run.state is not RunState.CANCELLING:
        return f"its run is {run.state}"
    return message.objection(run)


def dropped(record: Mapping[str, Any], reason: str) -> None:
    """Log a message that is taken off the queue without effect."""
    log(
        Action.MESSAGE_DROPPED,
        logging.WARNING,
        reason=reason,
        message_id=record.get("messageId"),
        body=str(record.get("body"))[:SHOWN_BODY],
    )


def _message(record: Mapping[str, Any]) -> Message | None:
    try:
        return Message.parse(record["body"])
    except InvalidMessage as error:
        dropped(record, str(error))
        return None


def _again(record: Mapping[str, Any]) -> bool:
    received = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))
    return received > 1 or SENT_AGAIN in record.get("messageAttributes", {})
