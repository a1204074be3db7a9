"""The worker: a batch of messages, called at the same time, settled with one write per chunk, then answered."""

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rollcall.adapters import counting, entries
from rollcall.adapters.clients import AWS_ERRORS
from rollcall.adapters.ledger import Ledger
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
from rollcall.engine.work import Work, apart, by_chunk, by_group

AT_ONCE = timedelta(0)
SUSPECTED = Answer(
    Outcome.UNKNOWN, "worker_died", "a worker died or ran out of time in each of its calls", answered=False
)
CANCELLED = Answer(Outcome.CANCELLED, "cancelled", "its run was cancelled before it was called")


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
        works, copies = apart([Work(found) for found in deliveries(records, self._control, self._job.name)])
        for work in works:
            if work.delivery.run.state is RunState.CANCELLING:
                work.outcome, work.answer = Outcome.CANCELLED, CANCELLED
        groups = by_group(self._begin(works))
        together = [group for group in groups if not any(work.suspect for work in group)]
        width = asyncio.Semaphore(self._width)
        await asyncio.gather(*(self._call_in_order(group, deadline, width) for group in together))
        returned = self._settle([work for group in together for work in group])
        for group in groups:
            if group not in together:
                returned += await self._call_alone(group, deadline)
        return returned + self._return_copies(copies, returned)

    def _return_copies(self, copies: list[tuple[Delivery, Work]], returned: list[str]) -> list[str]:
        """A copy stays on the queue with its first message, and as long as it: their group waits for both."""
        staying = [(copy, first) for copy, first in copies if first.delivery.message_id in returned]
        self._put_off({copy.receipt: first.wait for copy, first in staying if first.wait is not None})
        return [copy.message_id for copy, _ in staying]

    def _begin(self, works: list[Work]) -> list[Work]:
        """Note redelivered entries as begun, and learn from the same write what is known of them.

        If their call kills the worker, they are suspects when they come again. Those that are settled leave here.
        """
        again = [work for work in works if work.delivery.again and work.outcome is None]
        settled: list[Work] = []
        for run, chunk, some in by_chunk(again):
            try:
                settled += self._begin_chunk(run, chunk, some)
            except AWS_ERRORS as error:
                log(Action.ENTRY_RETURNED, logging.ERROR, run=run.id, entries=len(some), reason=str(error))
                for work in some:
                    work.put_back(AT_ONCE)
        return [work for work in works if work not in settled]

    def _begin_chunk(self, run: RunRecord, chunk: Node, works: list[Work]) -> list[Work]:
        """The works of a chunk that turn out to be settled."""
        record = counting.begin(self._ledger, run, chunk, [work.position for work in works])
        for work in works:
            work.remember(record)
        if record.settled:
            counting.count(self._ledger, run, chunk, record, self._clock.now())
        return [work for work in works if work.position in record.settled]

    # --- the calls ---

    async def _call_in_order(self, group: list[Work], deadline: datetime, width: asyncio.Semaphore) -> None:
        """One group in its order, beside others; one returned returns the rest of its group."""
        wait: timedelta | None = None
        for work in group:
            if wait is not None:
                work.put_back(wait)
            elif work.outcome is None and work.wait is None:
                async with width:
                    await self._call(work, deadline)
            wait = work.wait

    async def _call_alone(self, group: list[Work], deadline: datetime) -> list[str]:
        """A group with a suspect: one after another, each settled before the next; returns the ids that stay."""
        returned: list[str] = []
        for work in group:
            if returned:
                work.put_back(AT_ONCE)
            elif work.outcome is None and work.wait is None:
                await (self._call_suspect if work.suspect else self._call)(work, deadline)
            returned += self._settle([work])
        return returned

    async def _call(self, work: Work, deadline: datetime) -> None:
        if self._out_of_time(deadline):
            work.put_back(AT_ONCE)
            return
        work.attempts += 1
        answer = await self._caller.attempt(
            work.delivery.run, work.delivery.message, work.attempts, unanswered_before=work.unanswered
        )
        work.answer = answer
        work.unanswered = work.unanswered or not answer.answered
        if answer.outcome is not None:
            work.outcome = answer.outcome
        elif work.attempts <= self._job.retry.retries:
            work.wait = self._job.retry.wait(work.attempts, self._random, answer.retry_after)
        else:
            work.outcome = Outcome.UNKNOWN if work.unanswered else Outcome.FAILED

    async def _call_suspect(self, work: Work, deadline: datetime) -> None:
        """Call an entry during whose call a worker may have died, its attempt used up beforehand."""
        about = {"run": work.delivery.run.id, "key": work.delivery.message.key, "attempts": work.attempts}
        log(Action.ENTRY_SUSPECT, logging.WARNING, **about)
        if work.attempts > self._job.retry.retries:
            work.answer, work.outcome = SUSPECTED, Outcome.UNKNOWN
            return
        if self._out_of_time(deadline):
            work.put_back(AT_ONCE)
            return
        attempt = work.attempts + 1
        try:
            counting.note_attempt(self._ledger, work.delivery.run, work.delivery.chunk, work.position, attempt)
        except AWS_ERRORS as error:
            log(Action.ENTRY_RETURNED, logging.ERROR, **about, reason=str(error))
            work.put_back(AT_ONCE)
            return
        await self._call(work, deadline)

    def _out_of_time(self, deadline: datetime) -> bool:
        """Whether a call begun now might not be settled before this invocation is killed."""
        return self._clock.now() + self._job.target.timeout + SETTLE_MARGIN / 2 > deadline

    # --- after the calls ---

    def _settle(self, works: list[Work]) -> list[str]:
        """Write what came of it; returns the ids of the messages that stay on the queue.

        If the ledger cannot be written, all of a chunk's entries stay: called again with the same key.
        """
        waits: dict[str, timedelta] = {}
        returned: list[str] = []
        for run, chunk, some in by_chunk(works):
            try:
                self._settle_chunk(run, chunk, some)
            except (*AWS_ERRORS, RollcallError) as error:
                log(Action.ENTRY_RETURNED, logging.ERROR, run=run.id, entries=len(some), reason=str(error))
                returned += [work.delivery.message_id for work in some]
                continue
            for work in some:
                if work.wait is not None:
                    waits[work.delivery.receipt] = work.wait
                    returned.append(work.delivery.message_id)
        self._put_off(waits)
        return returned

    def _put_off(self, waits: Mapping[str, timedelta]) -> None:
        try:
            self._queue.put_off(waits)
        except AWS_ERRORS as error:
            log(Action.ENTRY_RETURNED, logging.ERROR, entries=len(waits), reason=f"they wait as received: {error}")

    def _settle_chunk(self, run: RunRecord, chunk: Node, works: list[Work]) -> None:
        now = self._clock.now()
        for work in works:
            self._tell(run, work, now)
        returned = [work for work in works if work.wait is not None]
        suspected_still = [work for work in returned if work.suspect and work.uncalled]
        batch = counting.Batch(
            outcomes={work.position: work.outcome for work in works if work.outcome is not None},
            attempts={work.position: work.attempts for work in returned if not work.uncalled},
            unanswered=[work.position for work in returned if work.unanswered],
            held=[work.position for work in returned if work.uncalled and work.known and not work.suspect],
            ended=[work.position for work in works if work.begun and work not in suspected_still],
        )
        superseded = counting.settle(self._ledger, run, chunk, batch, now)
        for work in works:
            if work.outcome is not None and work.position in superseded:
                self._superseded(run, work, work.outcome, superseded[work.position])

    def _superseded(self, run: RunRecord, work: Work, outcome: Outcome, stands: Outcome) -> None:
        """The first outcome stands; ours is kept as what came too late."""
        if outcome is not Outcome.SUCCEEDED:
            entries.note_superseded(self._ledger, run, work.name, outcome)
        about = {"run": run.id, "job": run.job, "key": work.delivery.message.key}
        log(Action.ENTRY_SUPERSEDED, logging.WARNING, **about, outcome=outcome, stands=stands)

    def _tell(self, run: RunRecord, work: Work, now: datetime) -> None:
        """Log what did not go well, and keep in ENTRY why an outcome is not success."""
        answer = work.answer
        if answer is None or work.outcome is Outcome.SUCCEEDED:
            return
        about = {"run": run.id, "job": run.job, "key": work.delivery.message.key, "attempt": work.attempts}
        about |= {"error": answer.error, "reason": answer.reason}
        if work.outcome is not None:
            entries.note_outcome(self._ledger, run, work.name, work.outcome, answer, work.attempts, now)
            log(_ACTIONS[work.outcome], logging.WARNING, **about)
        elif work.wait is not None and not work.uncalled:
            log(Action.ENTRY_RETRY, **about, wait_seconds=round(work.wait.total_seconds(), 3))


_ACTIONS = {
    Outcome.REJECTED: Action.ENTRY_REJECTED,
    Outcome.FAILED: Action.ENTRY_FAILED,
    Outcome.UNKNOWN: Action.ENTRY_UNKNOWN,
    Outcome.CANCELLED: Action.ENTRY_CANCELLED,
}
