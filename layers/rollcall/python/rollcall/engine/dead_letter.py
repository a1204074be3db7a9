"""Dead letters: settles what no worker could handle, so that the run completes and nothing is only in a queue."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from rollcall.adapters import counting, entries
from rollcall.adapters.clients import AWS_ERRORS
from rollcall.adapters.entries import EntryName, Told
from rollcall.adapters.ledger import Ledger
from rollcall.adapters.manifests import Manifests
from rollcall.core.actions import Action, log
from rollcall.core.answers import Answer
from rollcall.core.clock import Clock
from rollcall.core.errors import InvalidMessage, RollcallError
from rollcall.core.message import Message
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord
from rollcall.engine.deliveries import objection

REASON = "no worker could handle its message; see the worker's logs"


class HeldEntry(RollcallError):
    """A dead letter of an entry that was only held back: never settled here, and never dropped."""


class DeadLetters:
    """Handles the messages of dead-letter queues, of any job."""

    def __init__(self, ledger: Ledger, manifests: Manifests, clock: Clock) -> None:
        self._ledger = ledger
        self._manifests = manifests
        self._clock = clock

    def handle(self, records: Iterable[Mapping[str, Any]]) -> list[str]:
        """Settle an event's records; returns the ids of those that must be tried again."""
        returned = []
        for record in records:
            try:
                self._handle(record)
            except (*AWS_ERRORS, RollcallError) as error:
                log(Action.ENTRY_RETURNED, logging.ERROR, message_id=record["messageId"], reason=str(error))
                returned.append(record["messageId"])
        return returned

    def _handle(self, record: Mapping[str, Any]) -> None:
        try:
            message = Message.parse(record["body"])
        except InvalidMessage as error:
            return self._keep(record, str(error))
        run = self._ledger.run(message.run)
        reason = objection(message, run, message.job)
        if run is None or reason is not None:
            return self._keep(record, reason or "its run is not known")
        return self._settle(run, message)

    def _settle(self, run: RunRecord, message: Message) -> None:
        chunk, position = run.tree.chunk_of(message.index)
        now = self._clock.now()
        record = self._ledger.nodes(run, [chunk])[chunk]
        if position in record.settled:
            return counting.count(self._ledger, run, chunk, record, now)
        if position in record.held | record.asking:
            raise HeldEntry(f"{message.key} of {run.id} is held, not lost; its dead letter waits until it is settled")
        attempts = record.attempts.get(position, 0)
        every_call_answered = attempts > 0 and position not in record.unanswered | record.begun
        outcome = Outcome.FAILED if every_call_answered else Outcome.UNKNOWN
        answer = Answer(outcome, "dead_letter", REASON, answered=every_call_answered)
        name = EntryName(message.key, message.index)
        since = None if every_call_answered else run.started_at
        told = Told(answer, attempts, since, called_since=run.started_at, payload=message.payload)
        entries.note_outcome(self._ledger, run, name, outcome, told, now)
        counting.settle(self._ledger, run, chunk, counting.Batch({position: outcome}), now)
        log(
            Action.DEAD_LETTER_SETTLED,
            logging.WARNING,
            run=run.id,
            job=run.job,
            key=message.key,
            outcome=outcome,
        )
        return None

    def _keep(self, record: Mapping[str, Any], reason: str) -> None:
        kept = self._manifests.keep_dead_letter(record["messageId"], record["body"])
        log(Action.MESSAGE_DROPPED, logging.WARNING, reason=reason, message_id=record["messageId"], kept=kept)
