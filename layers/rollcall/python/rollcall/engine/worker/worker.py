"""The worker: call the entries of a message batch, settle them with one write per chunk."""

import asyncio
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Protocol

from rollcall.adapters.clients import AWS_ERRORS, words_of
from rollcall.adapters.ledger import chunk_updates, entries
from rollcall.adapters.ledger.records import Ledger
from rollcall.core.actions import Action, log
from rollcall.core.answers import Answer
from rollcall.core.breaker import LONGEST_HOLD
from rollcall.core.clock import Clock
from rollcall.core.errors import RollcallError
from rollcall.core.job import Job
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord, RunState
from rollcall.core.sizing import SETTLE_MARGIN
from rollcall.core.tree import Node
from rollcall.engine.worker.attempts import Attempts, ClaimedAttempts, KeyedAttempts
from rollcall.engine.worker.callback import Caller
from rollcall.engine.worker.circuit_breaker import Gate, Passage
from rollcall.engine.worker.messages import CONTROL_AGE, Control, Delivery, deliveries, objection
from rollcall.engine.worker.rate_limit import Pacer
from rollcall.engine.worker.work_item import AT_ONCE, Work, apart, by_chunk, by_group

CANCELLED = Answer(Outcome.CANCELLED, "cancelled", "its run was cancelled")
#: Least wait of an entry of a paused job, before jitter; the wait grows with the length of the pause.
PAUSED = timedelta(minutes=1)
#: Re-reserve a slot that was missed by more than LATE: late calls would add to those on time. A small burst lowers the
#: limit, down to LEAST_LATE, which a request to the ledger may take.
LATE = timedelta(seconds=1)
LEAST_LATE = timedelta(milliseconds=50)


class Waits(Protocol):
    """A receiver of the waits of returned messages: a queue, or its substitute in a batch."""

    def put_off(self, waits: Mapping[str, timedelta]) -> None:
        """Deliver messages again after their waits, which are keyed by receipt handle."""


class Worker:
    """A handler of one job's message batches; belongs to one event loop."""

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        queue: Waits,
        caller: Caller,
        clock: Clock,
        random_: random.Random,
        width: int,
        #: Unique to this worker.
        owner: str,
    ) -> None:
        self._job = job
        self._ledger = ledger
        self._queue = queue
        self._clock = clock
        self._random = random_
        self._width = width
        self._control = Control(ledger, job, clock)
        self._gate = Gate(ledger, self._control, job.target, clock, random_, owner)
        rate = job.target.rate
        self._late = LATE if rate is None else max(LEAST_LATE, min(LATE, rate.tolerance * timedelta(microseconds=1)))
        self._pacer = None if rate is None else Pacer(ledger, self._control, rate, clock, random_)
        self._claimed = ClaimedAttempts(job, ledger, caller, clock, random_)
        keys = job.target.keys
        self._keyed = None if keys is None else KeyedAttempts(job, ledger, caller, clock, random_, keys)

    async def handle(self, records: Sequence[Mapping[str, Any]], deadline: datetime) -> list[str]:
        """Handle the records of an SQS event by `deadline`; return the ids that stay queued.

        Each entry gets an outcome or a wait; no entry raises an error.
        """
        return await self.handle_deliveries(deliveries(records, self._control, self._job.name), deadline)

    def run(self, name: str) -> RunRecord | None:
        """Read the run, its job and its target again, and return the run."""
        return self._control.runs([name], fresh=True).get(name)

    async def handle_deliveries(self, found: Sequence[Delivery], deadline: datetime) -> list[str]:
        """Handle entries by `deadline`; return the message ids of unsettled ones."""
        works, copies = apart([Work(delivery) for delivery in found])
        self._stop(works)
        await self._pass_gate(works, deadline)
        self._take_turns(works, deadline)
        works = [work for work in works if not work.settled]
        groups = by_group(works)
        together = [group for group in groups if not any(work.suspect for work in group)]
        width = asyncio.Semaphore(self._width)
        await asyncio.gather(*(self._call_in_order(group, deadline, width) for group in together))
        returned = self._settle([work for group in together for work in group])
        for group in groups:
            if group not in together:
                returned += await self._call_alone(group, deadline)
        return returned + self._return_copies(copies, returned)

    def _return_copies(self, copies: list[tuple[Delivery, Work]], returned: list[str]) -> list[str]:
        """Return each copy with its first message, and with the same wait.

        Both are in one message group, which waits for both.
        """
        staying = [(copy, first) for copy, first in copies if first.delivery.message_id in returned]
        self._put_off({copy.receipt: first.wait for copy, first in staying if first.wait is not None})
        return [copy.message_id for copy, _ in staying]

    # --- before the calls ---

    def _stop(self, works: list[Work]) -> None:
        """End entries of cancelled runs, and return those of a paused job."""
        for work in works:
            if work.delivery.run.state is RunState.CANCELLING:
                work.end(Outcome.CANCELLED, CANCELLED)
            elif self._control.job.paused_since is not None:
                work.put_back(self._while_paused(self._control.job.paused_since))
        # Read earlier calls from the ledger, because a redrive needs them in the detail of the outcome.
        self._begin([work for work in works if work.outcome is Outcome.CANCELLED])

    def _while_paused(self, since: datetime) -> timedelta:
        """Return a wait of at most 15 minutes, with jitter.

        In a pause of ten days, a message is then received less often than its queue allows.
        """
        longest = max(PAUSED, min(self._clock.now() - since, LONGEST_HOLD))
        return longest * self._random.uniform(0.5, 1)

    async def _pass_gate(self, works: list[Work], deadline: datetime) -> None:
        """Hold entries while the circuit breaker is open, except for a half-open trial call."""
        waiting = [work for work in works if not work.decided]
        if not waiting:
            return
        passage = Passage.FREE
        with self._returning(waiting):
            passage = self._gate.passage(self._longest_try(deadline))
        if passage is Passage.ONE and not await self._try(waiting, deadline):
            passage = Passage.SHUT
        if passage is Passage.SHUT:
            self._hold([work for work in waiting if not work.decided], "breaker")

    def _longest_try(self, deadline: datetime) -> timedelta:
        """Return the longest duration of a trial: a question, a call and their slots."""
        left = deadline - self._clock.now()
        return left if self._pacer is not None else min(2 * self._job.target.timeout + SETTLE_MARGIN, left)

    async def _try(self, works: list[Work], deadline: datetime) -> bool:
        """Make the half-open trial call; return whether the target has recovered.

        Entries with few attempts come first, and the one that was tried last comes last, so that an outage uses up no
        entry's attempts.
        """
        before = self._control.target.tried_by
        firsts = [group[0] for group in by_group(works)]
        self._random.shuffle(firsts)
        self._begin(firsts)
        answer, tried = None, ""
        for work in sorted(firsts, key=lambda work: (work.delivery.message.key == before, work.attempts)):
            if not work.decided:
                await self._call(work, deadline, trying=True)
                answer, tried = work.answer, work.delivery.message.key
            if answer is not None or work.wait is not None:
                break
        with self._returning([]):
            if self._gate.tried(answer, tried) and answer is not None:
                work.forgive(answer, self._gate.wait())
        return not self._gate.shut

    def _take_turns(self, works: list[Work], deadline: datetime) -> None:
        """Reserve slots for the waiting entries, and read their records."""
        waiting = [work for work in works if not work.decided and work.answer is None]
        if self._pacer is not None and waiting:
            with self._returning(waiting):
                round_ = waiting[: self._width]
                slots = self._pacer.take(len(round_), self._latest(deadline))
                for work, slot in zip(round_, slots, strict=False):
                    work.slot = slot
                if len(slots) < len(round_):
                    self._hold(waiting[len(slots) :], "rate")
        self._begin([work for work in waiting if not work.decided])

    def _hold(self, works: list[Work], reason: str) -> None:
        """Return works to the queue without a call, with a wait that fits the reason."""
        if not works:
            return
        if reason == "rate" and self._pacer is not None:
            waits = self._pacer.waits(len(works))
        else:
            waits = [self._gate.wait() for _ in works]
        for work, wait in zip(works, waits, strict=True):
            work.put_back(wait)
        log(Action.ENTRY_HELD, job=self._job.name, entries=len(works), reason=reason, wait_seconds=_seconds(waits[0]))

    def _begin(self, works: list[Work]) -> None:
        """Record redelivered entries as begun; the same write returns their chunk.

        If a call kills the worker, its entry is a suspect when it is redelivered.
        """
        for run, chunk, some in by_chunk(works):
            again = [work for work in some if work.delivery.again and not work.begun]
            with self._returning(again):
                self._begin_chunk(run, chunk, again)
            undecided = [work for work in some if not work.decided]
            with self._returning(undecided):
                self._attempts(run).remember(run, undecided)

    @contextmanager
    def _returning(self, works: list[Work]) -> Iterator[None]:
        """Return works to the queue without a call if the ledger cannot be read or written."""
        try:
            yield
        except (*AWS_ERRORS, RollcallError) as error:
            log(Action.ENTRY_RETURNED, logging.ERROR, job=self._job.name, entries=len(works), reason=words_of(error))
            for work in works:
                work.put_back(AT_ONCE)

    def _begin_chunk(self, run: RunRecord, chunk: Node, works: list[Work]) -> None:
        if not works:
            return
        record = chunk_updates.begin(self._ledger, run, chunk, [work.position for work in works])
        for work in works:
            work.remember(record)
            work.settled, work.read_at = work.position in record.settled, self._clock.now()
        if record.settled:
            chunk_updates.count(self._ledger, run, chunk, record, self._clock.now())

    # --- the calls ---

    async def _call_in_order(self, group: list[Work], deadline: datetime, width: asyncio.Semaphore) -> None:
        """Call one group in order; if an entry is returned, return the rest of the group."""
        wait: timedelta | None = None
        for work in group:
            if wait is not None:
                work.put_back(wait)
            elif not work.decided:
                async with width:
                    await self._call(work, deadline)
            wait = work.wait

    async def _call_alone(self, group: list[Work], deadline: datetime) -> list[str]:
        """Call a group with a suspect one by one, and settle each entry before the next call.

        Returns the ids of the messages that stay on the queue.
        """
        returned: list[str] = []
        for work in group:
            if returned:
                work.put_back(AT_ONCE)
            elif not work.decided:
                await self._call(work, deadline)
            returned += self._settle([work])
        return returned

    async def _call(self, work: Work, deadline: datetime, *, trying: bool = False) -> None:
        """Call an entry, or ask about it; `trying` marks the half-open trial call."""
        again = True
        while again and await self._turn(work, deadline, trying=trying):
            work.began, work.call_until, epoch = self._clock.now(), deadline, self._gate.epoch
            again = await self._attempts(work.delivery.run).make(work)
            if work.answer is not None:
                self._gate.saw(work.delivery.message.key, work.answer, work.began, epoch)

    def _attempts(self, run: RunRecord) -> Attempts:
        """Return the policy for a run's attempts.

        Use idempotency keys only if the target supports them now and did when the generation started; otherwise keep
        using claims.
        """
        return self._keyed if self._keyed is not None and run.keyed else self._claimed

    async def _turn(self, work: Work, deadline: datetime, *, trying: bool) -> bool:
        """Wait until the entry may be called; return False if it must not be called."""
        with self._returning([work]):
            if not await self._slot(work, deadline):
                return False
            if self._out_of_time(deadline):
                work.put_back(AT_ONCE)
                return False
            self._stop_late(work)
            if not (trying or work.decided) and self._gate.shut:
                self._hold([work], "breaker")
        return not work.decided

    async def _slot(self, work: Work, deadline: datetime) -> bool:
        """Wait for the work's slot; hold the work and return False if no slot is in time."""
        if self._pacer is None:
            return True
        slot = work.slot
        while True:
            if slot is None or self._clock.now() > slot + self._late:
                slots = self._pacer.take(1, self._latest(deadline))
                if not slots:
                    self._hold([work], "rate")
                    return False
                slot = slots[0]
            await self._clock.wait(slot - self._clock.now())
            if self._clock.now() <= slot + self._late:
                work.slot = None
                return True

    def _stop_late(self, work: Work) -> None:
        """Stop a work whose run was cancelled, job paused or entry settled while it waited.

        Cancellation does not interrupt a bounded batch that is being called.
        """
        run = self._control.runs([work.delivery.run.id]).get(work.delivery.run.id)
        if run is not None and run.state is RunState.CANCELLING and self._job.delivery is None:
            work.end(Outcome.CANCELLED, CANCELLED)
        elif self._settled_meanwhile(work, run):
            work.settled = True
        elif self._control.job.paused_since is not None:
            work.put_back(self._while_paused(self._control.job.paused_since))

    def _settled_meanwhile(self, work: Work, run: RunRecord | None) -> bool:
        """Return whether a dead letter or another copy has settled the entry meanwhile."""
        if objection(work.delivery.message, run) is not None:
            return True
        if work.read_at is None or self._clock.now() - work.read_at <= CONTROL_AGE:
            return False
        work.read_at = self._clock.now()
        return (
            work.position in self._ledger.nodes(work.delivery.run, [work.delivery.chunk])[work.delivery.chunk].settled
        )

    def _latest(self, deadline: datetime) -> datetime:
        """Return the latest start of a call that can be settled before the invocation is killed."""
        return deadline - self._job.target.timeout - SETTLE_MARGIN / 2

    def _out_of_time(self, deadline: datetime) -> bool:
        return self._clock.now() > self._latest(deadline)

    # --- after the calls ---

    def _settle(self, works: list[Work]) -> list[str]:
        """Settle the works; return the ids of the messages that stay on the queue.

        If a chunk cannot be written, all of its entries stay and are called again with the same key.
        """
        self._judge(works)
        waits: dict[str, timedelta] = {}
        returned: list[str] = []
        for run, chunk, some in by_chunk(works):
            try:
                self._settle_chunk(run, chunk, some)
            except (*AWS_ERRORS, RollcallError) as error:
                log(Action.ENTRY_RETURNED, logging.ERROR, run=run.id, entries=len(some), reason=words_of(error))
                returned += [work.delivery.message_id for work in some]
                continue
            for work in some:
                if work.wait is not None:
                    waits[work.delivery.receipt] = work.wait
                    returned.append(work.delivery.message_id)
        self._put_off(waits)
        return returned

    def _judge(self, works: list[Work]) -> None:
        """Report the answers to the breaker, and retry entries refused for revoked credentials."""
        revoked = self._gate.credentials_revoked
        try:
            self._gate.report()
        except AWS_ERRORS as error:
            log(Action.ENTRY_RETURNED, logging.ERROR, entries=0, reason=f"breaker not updated: {words_of(error)}")
        for work in works:
            answer, began = work.answer, work.began
            if answer is None or began is None or not answer.credentials_refused or work.outcome is None:
                continue
            if self._gate.accepted_since(began) or (work.attempts > self._job.retry.retries and not revoked):
                continue
            work.outcome = None
            work.wait = self._gate.wait() if revoked else self._job.retry.wait(work.attempts, self._random)

    def _put_off(self, waits: Mapping[str, timedelta]) -> None:
        try:
            self._queue.put_off(waits)
        except AWS_ERRORS as error:
            reason = f"the waits were not set; the visibility timeout applies: {words_of(error)}"
            log(Action.ENTRY_RETURNED, logging.ERROR, entries=len(waits), reason=reason)

    def _settle_chunk(self, run: RunRecord, chunk: Node, works: list[Work]) -> None:
        now = self._clock.now()
        for work in works:
            self._tell(run, work)
        returned = [work for work in works if work.wait is not None]
        suspected_still = [work for work in returned if work.suspect and work.uncalled]
        batch = chunk_updates.Batch(
            outcomes={work.position: work.outcome for work in works if work.outcome is not None},
            attempts={work.position: work.attempts for work in returned if work.attempts and not work.uncalled},
            unanswered=[work.position for work in returned if work.unanswered],
            indefinite=[work.position for work in returned if work.indefinite],
            held=[work.position for work in returned if work.uncalled and work.known and not work.suspect],
            asking=[work.position for work in returned if work.asking],
            ended=[work.position for work in works if work.begun and work not in suspected_still],
        )
        superseded = chunk_updates.settle(self._ledger, run, chunk, batch, now) if batch else {}
        for work in works:
            if work.outcome is not None and work.position in superseded:
                self._superseded(run, work, work.outcome, superseded[work.position])

    def _superseded(self, run: RunRecord, work: Work, outcome: Outcome, stands: Outcome) -> None:
        """Record a late outcome beside the first one, which stands."""
        if outcome is not Outcome.SUCCEEDED:
            entries.note_superseded(self._ledger, run, work.name, outcome)
        else:
            entries.note_late_answer(self._ledger, run, work.name, outcome, self._clock.now())
        about = {**work.delivery.message.named, "outcome": outcome, "stands": stands}
        log(Action.ENTRY_SUPERSEDED, logging.WARNING, job=run.job, **about)

    def _tell(self, run: RunRecord, work: Work) -> None:
        """Log a failed or retried entry, and record the detail of an outcome other than success."""
        answer = work.answer
        if answer is None or work.outcome is Outcome.SUCCEEDED:
            return
        about: dict[str, object] = {**work.delivery.message.named, "job": run.job}
        about |= {"attempt": work.attempts, "error": answer.error}
        if work.outcome is not None:
            if not (work.told or self._attempts(run).conclude(work, answer, work.outcome)):
                work.give_up()
                log(Action.ENTRY_RETURNED, **about | {"reason": "another worker has claimed it since its call"})
                return
            log(_ACTIONS[work.outcome], logging.WARNING, **about)
        elif work.wait is not None and not work.uncalled:
            log(Action.ENTRY_RETRY, **about, wait_seconds=_seconds(work.wait))


def _seconds(wait: timedelta) -> float:
    return round(wait.total_seconds(), 3)


_ACTIONS = {
    Outcome.FAILED: Action.ENTRY_FAILED,
    Outcome.REJECTED: Action.ENTRY_REJECTED,
    Outcome.UNKNOWN: Action.ENTRY_UNKNOWN,
    Outcome.CANCELLED: Action.ENTRY_CANCELLED,
}
