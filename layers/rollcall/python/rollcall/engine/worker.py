"""The worker: a batch of messages, called at the same time, settled with one write per chunk, then answered."""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from rollcall.adapters import counting, entries
from rollcall.adapters.entries import EntryName
from rollcall.adapters.ledger import EntryRecord, Ledger, NodeRecord, entry_key, node_key
from rollcall.adapters.queue import Queue
from rollcall.core.actions import Action, log
from rollcall.core.answers import Answer
from rollcall.core.clock import Clock
from rollcall.core.errors import RollcallError
from rollcall.core.job import Job
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord, RunState
from rollcall.core.sizing import SETTLE_MARGIN
from rollcall.core.tree import Node
from rollcall.engine.calling import Caller
from rollcall.engine.deliveries import Control, Delivery, deliveries

AT_ONCE = timedelta(0)
#: What a suspect's attempt is noted as before it is called: if this stays, the call took the worker down.
SUSPECTED = Answer(None, "worker_died", "the worker died or ran out of time during this call", answered=False)


@dataclass(slots=True)
class Work:
    """A delivery on its way through a batch."""

    delivery: Delivery
    entry: EntryRecord = field(default_factory=EntryRecord)
    #: Whether it is in the chunk's `begun`, which is to be left when it is settled or returned.
    begun: bool = False
    #: Whether a call may have been made whose answer nobody has.
    unanswered: bool = False
    #: The final word, where there is one.
    answer: Answer | None = None
    outcome: Outcome | None = None
    #: How long it stays on the queue, where it is returned.
    wait: timedelta | None = None
    #: Whether it is returned without a call.
    uncalled: bool = False
    #: Whether its attempt was written to ENTRY before the call.
    noted: bool = False

    @property
    def name(self) -> EntryName:
        return EntryName(self.delivery.message.key, self.delivery.message.index)

    @property
    def attempt(self) -> int:
        """The number of the attempt that comes next, or is under way."""
        return self.entry.attempts if self.noted else self.entry.attempts + 1


class Worker:
    """Handles the batches of one job; belongs to one event loop."""

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        queue: Queue,
        caller: Caller,
        clock: Clock,
        random_: random.Random,
        width: int,
    ) -> None:
        self._job = job
        self._ledger = ledger
        self._queue = queue
        self._caller = caller
        self._clock = clock
        self._random = random_
        self._width = width
        self._control = Control(ledger, clock)

    async def handle(self, records: Sequence[Mapping[str, Any]], deadline: datetime) -> list[str]:
        """Handle the records of one SQS event by `deadline`; returns the ids of those that stay on the queue.

        Whatever happens to an entry is in its outcome or its wait; nothing is raised for one.
        """
        works = [Work(delivery) for delivery in deliveries(records, self._control, self._job.name)]
        works = self._recall(works)
        suspects = [work for work in works if work.begun and work.wait is None and work.outcome is None]
        others = [work for work in works if work not in suspects]
        self._begin([work for work in others if _to_call(work) and work.delivery.again])
        await self._call_groups(others, deadline)
        returned = self._settle(others)
        for work in suspects:
            returned += await self._call_suspect(work, deadline)
        return returned

    # --- before the calls ---

    def _recall(self, works: list[Work]) -> list[Work]:
        """What the ledger knows of redelivered entries; those that are settled leave the batch here."""
        again = [work for work in works if work.delivery.again]
        items = self._ledger.items(key for work in again for key in _keys(work)) if again else {}
        now, left = self._clock.now(), []
        for work in works:
            if work.delivery.run.state is RunState.CANCELLING:
                work.outcome, work.answer = (
                    Outcome.CANCELLED,
                    Answer(Outcome.CANCELLED, "cancelled", "the run was cancelled"),
                )
            if work.delivery.again:
                chunk_key, own_key = _keys(work)
                chunk = NodeRecord.of(items.get(chunk_key, {}))
                if work.delivery.position in chunk.settled:
                    counting.count(self._ledger, work.delivery.run, work.delivery.chunk, chunk, now)
                    continue
                self._remember(work, chunk, items.get(own_key, {}), now)
            left.append(work)
        return left

    def _remember(self, work: Work, chunk: NodeRecord, item: Mapping[str, Any], now: datetime) -> None:
        position = work.delivery.position
        work.entry = EntryRecord.of(item, work.delivery.run.generation)
        work.begun = position in chunk.begun
        uncertain = position not in chunk.held and work.entry.attempts == 0
        work.unanswered = work.entry.unanswered or work.begun or uncertain
        if work.entry.not_before is not None and work.entry.not_before > now and not work.begun:
            work.wait = work.entry.not_before - now

    def _begin(self, works: list[Work]) -> None:
        """A redelivered entry is noted as begun before it is called: if the call kills the worker, it is a suspect."""
        for run, chunk, some in _by_chunk(works):
            counting.begin(self._ledger, run, chunk, [work.delivery.position for work in some])
            for work in some:
                work.begun = True

    # --- the calls ---

    async def _call_groups(self, works: list[Work], deadline: datetime) -> None:
        """Different groups at the same time, one group in its order; one returned returns the rest of its group."""
        groups: dict[str, list[Work]] = defaultdict(list)
        for work in works:
            groups[work.delivery.message.group].append(work)
        width = asyncio.Semaphore(self._width)

        async def in_order(group: list[Work]) -> None:
            wait: timedelta | None = None
            for work in group:
                if wait is not None:
                    work.wait, work.uncalled, work.outcome = wait, True, None
                elif _to_call(work):
                    async with width:
                        await self._call(work, deadline)
                wait = work.wait

        await asyncio.gather(*(in_order(group) for group in groups.values()))

    async def _call(self, work: Work, deadline: datetime) -> None:
        if self._clock.now() + self._job.target.timeout + SETTLE_MARGIN / 2 > deadline:
            work.wait, work.uncalled = AT_ONCE, True
            return
        answer = await self._caller.attempt(
            work.delivery.run, work.delivery.message, work.attempt, unanswered_before=work.unanswered
        )
        work.answer = answer
        work.unanswered = work.unanswered or not answer.answered
        if answer.outcome is not None:
            work.outcome = answer.outcome
        elif work.attempt <= self._job.retry.retries:
            work.wait = self._job.retry.wait(work.attempt, self._random, answer.retry_after)
        else:
            work.outcome = Outcome.UNKNOWN if work.unanswered else Outcome.FAILED

    async def _call_suspect(self, work: Work, deadline: datetime) -> list[str]:
        """Call an entry during whose call a worker may have died: alone, its attempt used up beforehand."""
        log(Action.ENTRY_SUSPECT, logging.WARNING, run=work.delivery.run.id, key=work.delivery.message.key)
        if work.attempt > self._job.retry.retries + 1:
            work.answer, work.outcome = SUSPECTED, Outcome.UNKNOWN
            return self._settle([work])
        now = self._clock.now()
        if not entries.note_attempt(
            self._ledger, work.delivery.run, work.name, work.attempt, SUSPECTED, now, not_before=now
        ):
            work.wait = AT_ONCE
            return self._settle([work])
        work.entry, work.noted = replace(work.entry, attempts=work.attempt, unanswered=True), True
        await self._call(work, deadline)
        return self._settle([work])

    # --- after the calls ---

    def _settle(self, works: list[Work]) -> list[str]:
        """Write what came of it; returns the ids of the messages that stay on the queue.

        If the ledger cannot be written, all of a chunk's entries stay: called again with the same key.
        """
        waits: dict[str, timedelta] = {}
        returned: list[str] = []
        for run, chunk, some in _by_chunk(works):
            try:
                self._settle_chunk(run, chunk, some)
            except (ClientError, BotoCoreError, RollcallError) as error:
                log(Action.ENTRY_RETURNED, logging.ERROR, run=run.id, entries=len(some), reason=str(error))
                returned += [work.delivery.message_id for work in some]
                continue
            for work in some:
                if work.wait is not None:
                    waits[work.delivery.receipt] = work.wait
                    returned.append(work.delivery.message_id)
        if waits:
            self._queue.put_off(waits)
        return returned

    def _settle_chunk(self, run: RunRecord, chunk: Node, works: list[Work]) -> None:
        now = self._clock.now()
        uncalled = [work.delivery.position for work in works if work.uncalled]
        if uncalled:
            counting.hold(self._ledger, run, chunk, uncalled)
        for work in works:
            self._note(run, work, now)
        outcomes = {work.delivery.position: work.outcome for work in works if work.outcome is not None}
        returned = [
            work.delivery.position for work in works if work.wait is not None and work.begun and not work.uncalled
        ]
        if outcomes or returned:
            end = counting.settle(self._ledger, run, chunk, outcomes, now, returned=returned)
            for position, stands in end.superseded.items():
                log(
                    Action.ENTRY_SUPERSEDED,
                    logging.WARNING,
                    run=run.id,
                    chunk=chunk.number,
                    position=position,
                    stands=stands,
                )

    def _note(self, run: RunRecord, work: Work, now: datetime) -> None:
        """Write to ENTRY what there is to say."""
        answer, about = work.answer, {"run": run.id, "job": run.job, "key": work.delivery.message.key}
        if answer is None or work.outcome is Outcome.SUCCEEDED:
            return
        if work.outcome is not None:
            entries.note_outcome(self._ledger, run, work.name, work.outcome, answer, work.attempt, now)
            action = _ACTIONS.get(work.outcome)
            if action is not None:
                log(action, logging.WARNING, **about, attempt=work.attempt, error=answer.error, reason=answer.reason)
        elif work.wait is not None:
            told = replace(answer, answered=not work.unanswered)
            note = entries.renote_attempt if work.noted else entries.note_attempt
            note(self._ledger, run, work.name, work.attempt, told, now, not_before=now + work.wait)
            wait = round(work.wait.total_seconds(), 3)
            log(Action.ENTRY_RETRY, **about, attempt=work.attempt, error=answer.error, wait_seconds=wait)


_ACTIONS = {
    Outcome.REJECTED: Action.ENTRY_REJECTED,
    Outcome.FAILED: Action.ENTRY_FAILED,
    Outcome.UNKNOWN: Action.ENTRY_UNKNOWN,
}


def _to_call(work: Work) -> bool:
    return work.wait is None and work.outcome is None


def _keys(work: Work) -> tuple[str, str]:
    run = work.delivery.run
    return node_key(run.id, run.generation, work.delivery.chunk), entry_key(run.id, work.name.id)


def _by_chunk(works: Iterable[Work]) -> list[tuple[RunRecord, Node, list[Work]]]:
    """Works by the chunk whose item they are settled in."""
    found: dict[tuple[str, Node], list[Work]] = defaultdict(list)
    for work in works:
        found[work.delivery.run.id, work.delivery.chunk].append(work)
    return [(some[0].delivery.run, chunk, some) for (_, chunk), some in found.items()]
