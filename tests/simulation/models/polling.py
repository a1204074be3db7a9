"""An event source mapping in virtual time: who receives when, and how many batches are at work.

What a batch, its event and its answer are is `tools.local_cloud.event_source`'s.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from rollcall.adapters.clients import AWS_ERRORS
from tests.simulation.models.functions import InvocationFailed
from tests.simulation.models.sqs import Sqs
from tests.simulation.models.virtual_time import VirtualClock
from tools.local_cloud.event_source import LONG_POLL_SECONDS, Batch, EventSource, kept_on_queue

#: Between a request that failed and the next.
PAUSE_SECONDS = 1.0
#: Never wait for less: a service's time is a float in seconds since 1970.
LEAST_WAIT_SECONDS = 0.001


class QueuePoller:
    """Feeds a function from a queue, with up to `concurrency` batches at work."""

    def __init__(
        self,
        source: EventSource,
        sqs: Sqs,
        url: str,
        concurrency: int,
        invoke: Callable[[Mapping[str, Any]], Awaitable[object]],
        clock: VirtualClock,
        long_poll: float = LONG_POLL_SECONDS,
    ) -> None:
        self._source = source
        self._seconds = long_poll
        self._sqs = sqs
        self._url = url
        self._arn = sqs.queue(url).arn
        self._invoke = invoke
        self._clock = clock
        self._free = asyncio.Semaphore(concurrency)
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        sqs.queue(url).on_change = self._changed.set

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._free.acquire()
            task = asyncio.create_task(self._handle(await self._next()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _next(self) -> Batch:
        while True:
            await self._long_poll()
            try:
                batch = self._source.receive(wait_seconds=0)
            except AWS_ERRORS:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if batch is not None:
                return batch

    async def _long_poll(self) -> None:
        """Until there is something to receive, or a long poll is over: one request for each, as there would be."""
        end = self._clock.timestamp() + self._seconds
        while (now := self._clock.timestamp()) < end:
            visible = self._sqs.next_visible(self._url)
            if visible is not None and visible <= now:
                return
            self._changed.clear()
            until = end if visible is None else min(end, visible)
            try:
                async with asyncio.timeout(max(until - now, LEAST_WAIT_SECONDS)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _handle(self, batch: Batch) -> None:
        try:
            kept = kept_on_queue(await self._invoke(batch.event(self._arn)), batch.ids)
        except InvocationFailed:
            kept = set(batch.ids)
        finally:
            self._free.release()
        try:
            self._source.delete(batch, kept)
        except AWS_ERRORS:
            return
