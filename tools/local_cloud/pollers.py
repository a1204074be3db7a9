"""Threads that drive the event sources: receiving and deleting go on beside the workers."""

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tools.local_cloud.event_source import Batch, EventSource
from tools.local_cloud.stream import StreamSource

#: Batches received ahead, so that a free worker never waits for a receive; their visibility already runs.
AHEAD = 2
RECEIVERS = 1
DELETERS = 2
#: Lambda looks into a stream four times a second and does not charge it
#: (https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html); here each look counts as a request.
STREAM_SECONDS = 1.0
PAUSE_SECONDS = 0.2
Invoke = Callable[[dict[str, Any]], object]


class QueuePoller:
    """Feeds a function from a queue, with up to `concurrency` batches at work."""

    def __init__(self, source: EventSource, invoke: Invoke, concurrency: int) -> None:
        self._source = source
        self._invoke = invoke
        self._stopped = threading.Event()
        self._received: queue.Queue[Batch] = queue.Queue(AHEAD)
        self._handled: queue.Queue[tuple[Batch, set[str]]] = queue.Queue()
        steps = [self._receive] * RECEIVERS + [self._work] * concurrency + [self._delete] * DELETERS
        self._threads = [threading.Thread(target=self._loop, args=(step,), daemon=True) for step in steps]
        for thread in self._threads:
            thread.start()

    def _loop(self, step: Callable[[], None]) -> None:
        while not self._stopped.is_set():
            try:
                step()
            except queue.Empty:
                continue
            except (ClientError, BotoCoreError):
                self._stopped.wait(PAUSE_SECONDS)

    def _receive(self) -> None:
        batch = self._source.receive()
        while batch is not None and not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._received.put(batch, timeout=PAUSE_SECONDS)
                return

    def _work(self) -> None:
        batch = self._received.get(timeout=PAUSE_SECONDS)
        self._handled.put((batch, self._source.invoke(batch, self._invoke)))

    def _delete(self) -> None:
        self._source.delete(*self._handled.get(timeout=PAUSE_SECONDS))

    def stop(self) -> None:
        """Take no more batches; what is at work ends with its function."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for the threads, once the services behind them are gone."""
        for thread in self._threads:
            thread.join(5)


class Repeater:
    """Calls a step again and again, with a pause between."""

    def __init__(self, step: Callable[[], None], seconds: float, *, at_once: bool = True) -> None:
        self._step = step
        self._seconds = seconds
        self._at_once = at_once
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        if not self._at_once:
            self._stopped.wait(self._seconds)
        while not self._stopped.is_set():
            with contextlib.suppress(ClientError, BotoCoreError):
                self._step()
            self._stopped.wait(self._seconds)

    def stop(self) -> None:
        self._stopped.set()

    def join(self) -> None:
        self._thread.join(5)


def follow_stream(source: StreamSource, invoke: Invoke) -> Repeater:
    """Feed a function from a stream."""
    return Repeater(lambda: source.poll(invoke), STREAM_SECONDS)
