"""One batch of a manifest: hand its entries to the worker, in place of a queue."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from rollcall.adapters.ledger import batch_leases, chunk_updates
from rollcall.adapters.ledger.batch_leases import Lease
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.manifests import Manifests
from rollcall.core.actions import Action, log
from rollcall.core.batches import Batches
from rollcall.core.clock import Clock
from rollcall.core.entry import ManifestEntry
from rollcall.core.event_forms import SLICE_FORMS, form_of
from rollcall.core.message import Message
from rollcall.core.run import OPEN, RunRecord, RunState
from rollcall.core.tree import Node
from rollcall.engine.fan_out.dispatch import message_of, reject
from rollcall.engine.worker.messages import Delivery
from rollcall.engine.worker.worker import Worker

SECOND = timedelta(seconds=1)
#: Wait of an entry that could not be settled in the ledger, before it is called again with the same key.
UNWRITTEN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Slice:
    """The address of a batch, as the state machine names it."""

    run: str
    generation: int
    number: int

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Self:
        """Parse an event; raise RollcallError, KeyError or ValueError if it names no batch."""
        form_of(event, SLICE_FORMS)
        return cls(str(event["run"]), int(event["generation"]), int(event["slice"]))


@dataclass(frozen=True, slots=True)
class Handled:
    """The next action of the state machine: the same batch again or the next, after a wait."""

    again: bool
    wait: timedelta

    def fields(self) -> dict[str, object]:
        """Return the fields that the state machine reads; the wait in whole seconds, rounded up."""
        return {"again": self.again, "wait_seconds": max(0, -(-self.wait // SECOND))}


@dataclass(slots=True)
class Waits:
    """A substitute for the queue that records the waits of entries."""

    found: dict[str, timedelta] = field(default_factory=dict)

    def put_off(self, waits: Mapping[str, timedelta]) -> None:
        self.found.update(waits)


class SliceHandler:
    """A handler of the batches of one job's runs; `worker` reports its waits to `waits`."""

    def __init__(
        self, batches: Batches, ledger: Ledger, manifests: Manifests, worker: Worker, waits: Waits, clock: Clock
    ) -> None:
        self._batches = batches
        self._ledger = ledger
        self._manifests = manifests
        self._worker = worker
        self._waits = waits
        self._clock = clock

    async def handle(self, wanted: Slice, owner: str, deadline: datetime) -> Handled:
        """Call the unsettled entries of a batch by `deadline`.

        `owner` is unique to the invocation. If another invocation holds the batch's lease, nothing is called until the
        lease ends.
        """
        run = self._worker.run(wanted.run)
        if run is None or run.generation != wanted.generation or not under_way(run):
            return Handled(again=False, wait=timedelta(0))
        try:
            lease = batch_leases.take(self._ledger, run, wanted.number, owner, deadline, self._clock.now())
        except batch_leases.Leased as leased:
            log(Action.SLICE_LEASED, logging.WARNING, run=run.id, job=run.job, slice=wanted.number)
            return Handled(again=True, wait=leased.until - self._clock.now() + SECOND)
        waits = await self._call(run, wanted.number, lease, deadline)
        # The lease records the end of the wait, so that a batch repeated by Step Functions waits too.
        rest = self._clock.now() + max(waits) if waits else None
        batch_leases.give_back(self._ledger, run, wanted.number, lease, rest)
        if waits:
            return Handled(again=True, wait=max(waits))
        stopping = run.state is RunState.CANCELLING
        return Handled(again=False, wait=timedelta(0) if stopping else self._batches.pause)

    async def _call(self, run: RunRecord, number: int, lease: Lease, deadline: datetime) -> list[timedelta]:
        """Call the unsettled entries; return the waits of those that stay unsettled."""
        found: list[Delivery] = []
        for chunk, lines in self._lines(run, number).items():
            waiting = lines if lease.began_before is None else self._unsettled(run, chunk, lines)
            rejected = {index: line.rejected for index, line in waiting.items() if line.rejected is not None}
            reject(self._ledger, run, chunk, waiting, rejected, self._clock.now())
            found += [
                self._delivery(message_of(run, chunk, index, line), run, lease)
                for index, line in waiting.items()
                if line.rejected is None
            ]
        self._waits.found.clear()
        returned = await self._worker.handle_deliveries(found, deadline) if found else []
        return [self._waits.found.get(name, UNWRITTEN) for name in returned]

    def _lines(self, run: RunRecord, number: int) -> dict[Node, dict[int, ManifestEntry]]:
        """Return the manifest lines of a batch, by chunk and index."""
        first = number * self._batches.size
        found: dict[Node, dict[int, ManifestEntry]] = {}
        read: dict[Node, list[ManifestEntry]] = {}
        for index in range(first, min(first + self._batches.size, run.total)):
            chunk, position = run.tree.chunk_of(index)
            if chunk not in read:
                read[chunk] = self._manifests.read(run, chunk.number)
            found.setdefault(chunk, {})[index] = read[chunk][position]
        return found

    def _unsettled(self, run: RunRecord, chunk: Node, lines: dict[int, ManifestEntry]) -> dict[int, ManifestEntry]:
        """Return the lines without an outcome.

        A full chunk is propagated to its parent again, as the worker that filled it may have died.
        """
        record = self._ledger.nodes(run, [chunk])[chunk]
        chunk_updates.count(self._ledger, run, chunk, record, self._clock.now())
        return {index: line for index, line in lines.items() if run.tree.chunk_of(index)[1] not in record.settled}

    def _delivery(self, message: Message, run: RunRecord, lease: Lease) -> Delivery:
        name = str(message.index)
        return Delivery(
            message_id=name,
            receipt=name,
            message=message,
            again=lease.began_before is not None,
            first_received=lease.began_before or self._clock.now(),
            group=message.group,
            run=run,
        )


def under_way(run: RunRecord) -> bool:
    """Return whether the run still has entries to settle."""
    return run.state in OPEN or run.state is RunState.CANCELLING
