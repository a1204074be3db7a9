"""Dispatch: send the messages of a sealed manifest within the job's window."""

from collections.abc import Container, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Self

from rollcall.adapters.ledger import chunk_updates, entries, runs
from rollcall.adapters.ledger.entries import EntryName, Told
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.manifests import Manifests
from rollcall.adapters.queue import Outgoing, Queue, batches
from rollcall.core.actions import Action, entry_fields, log
from rollcall.core.answers import Answer
from rollcall.core.clock import Clock
from rollcall.core.entry import ManifestEntry
from rollcall.core.job import Job, Overlap
from rollcall.core.message import Message
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord
from rollcall.core.tree import Node
from rollcall.engine.runs.progress import unsettled

#: Requests to the queue at the same time, each with one message batch.
SENDERS = 8
#: Time before the end of a lease in which nothing is sent. Requests sent earlier have ended before another fan-out
#: can take over.
SAFETY = timedelta(seconds=30)
#: Chunks between two checkpoints. After a crash, the next fan-out resends at most the window.
CHUNKS_A_CHECKPOINT = 20


class Sender:
    """A sender of a run's messages; a context manager, which owns the sending threads."""

    def __init__(self, ledger: Ledger, manifests: Manifests, queue: Queue, clock: Clock) -> None:
        self._ledger = ledger
        self._manifests = manifests
        self._queue = queue
        self._clock = clock
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        self._threads = self._ending.enter_context(ThreadPoolExecutor(SENDERS))
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def send(
        self,
        run: RunRecord,
        chunk: Node,
        until: datetime,
        *,
        marked: Container[int],
        only: Container[int] | None = None,
    ) -> int:
        """Send a chunk, or `only` these indexes of it, and settle the rejected entries among them.

        Returns the index after the chunk's last entry. Messages of the indexes `marked` carry a mark that they may
        have been sent before. Raises DispatchFailed if the queue does not accept all messages by `until`.
        """
        first = chunk.number * run.chunk_size
        whole = dict(enumerate(self._manifests.read(run, chunk.number), start=first))
        lines = {index: line for index, line in whole.items() if only is None or index in only}
        outgoing = (
            Outgoing(message_of(run, chunk, index, line), again=index in marked)
            for index, line in lines.items()
            if line.rejected is None
        )
        refused: dict[int, str] = {}
        for result in self._threads.map(lambda batch: self._queue.send(batch, until), batches(outgoing)):
            refused |= result
        rejected = {index: line.rejected for index, line in lines.items() if line.rejected is not None}
        reject(self._ledger, run, chunk, lines, rejected | refused, self._clock.now())
        return first + len(whole)


def reject(
    ledger: Ledger,
    run: RunRecord,
    chunk: Node,
    lines: Mapping[int, ManifestEntry],
    reasons: Mapping[int, str],
    now: datetime,
) -> None:
    """Settle entries of a chunk as rejected, each for its reason.

    `lines` and `reasons` are keyed by the index of the entry.
    """
    if not reasons:
        return
    for index, reason in reasons.items():
        line = lines[index]
        told = Told(Answer(Outcome.REJECTED, "invalid", reason), attempts=0, definite=True, payload=line.payload)
        entries.note_outcome(ledger, run, EntryName(line.key, index), Outcome.REJECTED, told, now)
        about = entry_fields(run.id, run.generation, index)
        log(Action.ENTRY_REJECTED, job=run.job, **about, error=told.answer.error)
    positions = {run.tree.chunk_of(index)[1]: Outcome.REJECTED for index in reasons}
    chunk_updates.settle(ledger, run, chunk, chunk_updates.Batch(positions), now)


class Dispatch:
    """The dispatch of a run by one invocation of fan-out."""

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        sender: Sender,
        clock: Clock,
        #: Unsettled entries that the queue may hold, over all runs of the job.
        window: int,
    ) -> None:
        self._job = job
        self._window = window
        self._ledger = ledger
        self._sender = sender
        self._clock = clock

    def go_on(self, run: RunRecord) -> RunRecord:
        """Send as many entries as the window allows.

        Entries between the checkpoint and the window's end may be on the queue already, because a dispatcher died
        before it recorded them. Their messages are marked. Releasing the lease cleanly adds no new in-doubt entries.
        Raises DispatchFailed, and LostLease if another invocation has taken the run over.
        """
        marked = run.window_end
        run = self._open_window(run)
        window_end = run.window_end
        with self._sender as sender:
            for done, chunk in enumerate(self._chunks(run), start=1):
                if self._lease_ends(run):
                    return self._release(run, max(run.checkpoint, marked))
                accepted = sender.send(run, chunk, _last_send(run), marked=range(marked))
                if done % CHUNKS_A_CHECKPOINT == 0 and accepted < window_end:
                    run = runs.checkpoint(self._ledger, run, accepted)
                else:
                    run = replace(run, checkpoint=accepted)
        if run.checkpoint < run.total:
            log(Action.RUN_WINDOW_FULL, run=run.id, job=run.job, sent=run.checkpoint, total=run.total)
            return self._release(run, run.checkpoint)
        log(Action.RUN_DISPATCHED, run=run.id, job=run.job, total=run.total)
        return runs.all_dispatched(self._ledger, run, self._clock.now())

    def _release(self, run: RunRecord, in_doubt_until: int) -> RunRecord:
        return runs.release(self._ledger, run, run.checkpoint, in_doubt_until, self._clock.now())

    def _open_window(self, run: RunRecord) -> RunRecord:
        """Record the window's end.

        If runs may overlap, the window is computed again afterwards, to count windows opened at the same moment.
        """
        opened = runs.open_window(self._ledger, run, max(self._window_end(run), run.window_end))
        if self._job.overlap is not Overlap.ALLOW:
            return opened
        allowed = max(self._window_end(run), run.window_end)
        return opened if allowed >= opened.window_end else runs.open_window(self._ledger, opened, allowed)

    def _window_end(self, run: RunRecord) -> int:
        """Return the index up to which the job's window allows sending, in whole chunks."""
        others = self._ledger.job(run.job).open - {run.id}
        waiting = sum(unsettled(self._ledger, other) for other in self._ledger.runs(others).values())
        room = self._window - waiting - unsettled(self._ledger, run)
        end = run.checkpoint + max(0, room)
        return run.total if end >= run.total else end - end % run.chunk_size

    def _chunks(self, run: RunRecord) -> Iterator[Node]:
        first, last = run.checkpoint // run.chunk_size, -(-run.window_end // run.chunk_size)
        return (Node(0, number) for number in range(first, last))

    def _lease_ends(self, run: RunRecord) -> bool:
        return self._clock.now() >= _last_send(run)


def _last_send(run: RunRecord) -> datetime:
    """Return the latest time to start a send request; the past if there is no lease."""
    return run.lease_until - SAFETY if run.lease_until is not None else datetime.min.replace(tzinfo=UTC)


def message_of(run: RunRecord, chunk: Node, index: int, line: ManifestEntry) -> Message:
    """Build the message for the entry `index`."""
    return Message(
        run=run.id,
        generation=run.generation,
        chunk=chunk.number,
        index=index,
        total=run.total,
        key=line.key or "",
        payload=line.payload,
        idempotency_key=line.idempotency_key,
        unanswered_since=line.unanswered_since,
        called_since=line.called_since,
    )
