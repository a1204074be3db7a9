"""Blocking code that lets other tasks go on: every step of a task runs in a greenlet, which a blocking wait leaves.

The engine's requests block, as boto3's do. In a process of its own each of them would let every other process go on;
here all share one thread and one virtual clock, and a task that blocks gives both to the others.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor, Future
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

Result = TypeVar("Result")


class Process:
    """Tasks that share a thread: while one of them blocks, none of the others goes on."""

    def __init__(self) -> None:
        self._blocked_by: _Stepped | None = None
        self._waiting: list[asyncio.Future[None]] = []

    async def run(self, function: Callable[..., Coroutine[Any, Any, Result]], *given: Any) -> Result:
        """Run it, and whatever tasks it makes, in this process; cancelled with whoever waits for it."""
        context = copy_context()
        context.run(_PROCESS.set, self)
        return await asyncio.get_running_loop().create_task(function(*given), context=context)

    def turn(self, task: "_Stepped") -> "asyncio.Future[None] | None":
        """None where it is the task's turn; else what it has to wait for."""
        if self._blocked_by in {None, task}:
            return None
        self._waiting.append(asyncio.get_running_loop().create_future())
        return self._waiting[-1]

    def hold(self, task: "_Stepped") -> None:
        self._blocked_by = task

    def release(self) -> None:
        self._blocked_by = None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            _wake(each)


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class _Step(greenlet):
    """One step of a task, from one of its awaits to the next."""

    task: "_Stepped"


class _Stepped(Coroutine[Any, Any, Any]):
    """A task's coroutine, driven step by step. A step that blocks hands over a future, as an await would."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> None:
        self._coroutine = coroutine
        self._context = context
        self.process: Process | None = context.get(_PROCESS)
        self._blocked: _Step | None = None
        #: What was thrown in while another task of the process blocked.
        self._thrown: tuple[Any, ...] | None = None

    def send(self, value: Any) -> Any:
        if (other := self._other_is_on()) is not None:
            return other
        if self._thrown is not None:
            error, self._thrown = self._thrown, None
            return self._throw(*error)
        if self._blocked is not None:
            return self._follow(self._blocked, self._blocked.switch, value)
        step = self._step(self._coroutine.send)
        return self._follow(step, step.switch, value)

    def throw(self, *error: Any) -> Any:
        if (other := self._other_is_on()) is not None:
            self._thrown = error
            return other
        return self._throw(*error)

    def _throw(self, *error: Any) -> Any:
        if self._blocked is not None:
            return self._follow(self._blocked, self._blocked.throw, *error)
        step = self._step(self._coroutine.throw)
        return self._follow(step, step.switch, *error)

    def _other_is_on(self) -> "asyncio.Future[None] | None":
        wait = None if self.process is None else self.process.turn(self)
        if wait is not None:
            wait._asyncio_future_blocking = True
        return wait

    def _step(self, run: Callable[..., Any]) -> _Step:
        step = _Step(run)
        step.gr_context = self._context
        step.task = self
        return step

    def _follow(self, step: _Step, go_on: Callable[..., Any], *given: Any) -> Any:
        self._blocked = None
        handed = go_on(*given)
        if not step.dead:
            self._blocked = step
        return handed

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise TypeError("a task's steps are driven by its loop")


def task_factory(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any],
    *,
    context: Context | None = None,
    **options: Any,
) -> asyncio.Task[Any]:
    """Makes tasks whose code may block."""
    assert isinstance(coroutine, Coroutine)
    context = copy_context() if context is None else context
    # The steps have the context; a task that ran in it, too, would enter it twice.
    return asyncio.Task(_Stepped(coroutine, context), loop=loop, context=Context(), **options)


def may_block() -> bool:
    """Whether this is the code of a task, which can wait while others go on."""
    return isinstance(getcurrent(), _Step)


def block(future: "asyncio.Future[Result]") -> Result:
    """Wait for a future, in blocking code of a task."""
    step = getcurrent()
    if not isinstance(step, _Step):
        raise RuntimeError("only the code of a task can wait for others")
    if not future.done():
        future._asyncio_future_blocking = True
        assert step.parent is not None
        process = step.task.process
        if process is not None:
            process.hold(step.task)
        try:
            step.parent.switch(future)
        finally:
            if process is not None:
                process.release()
    return future.result()


def pause(seconds: float) -> None:
    """Let time pass, in blocking code of a task."""
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, _wake, woken)
    try:
        block(woken)
    finally:
        timer.cancel()


#: Kept by somebody while they run.
_beside: set["asyncio.Task[None]"] = set()


def beside(work: Callable[[], object], after: float) -> None:
    """Have blocking code run beside whoever asks for it, some seconds later; what comes of it is nobody's business."""

    async def run() -> None:
        await asyncio.sleep(after)
        with suppress(Exception):
            work()

    task = asyncio.get_running_loop().create_task(run(), context=Context())
    _beside.add(task)
    task.add_done_callback(_beside.discard)


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class _Submitted(Future[Result]):
    """What a pool was handed: waiting for it lets others go on."""

    task: "asyncio.Task[None]"

    def result(self, timeout: float | None = None) -> Result:
        if not self.done() and may_block():
            _block_until_done(self.task)
        return super().result(timeout)

    def cancel(self) -> bool:
        """What began goes on, as in a thread."""
        return False


class FiberExecutor(Executor):
    """A pool whose threads are tasks of no process; outside of a task it runs everything when it is submitted."""

    def __init__(self, max_workers: int = 1) -> None:
        self._free = asyncio.Semaphore(max_workers)
        self._submitted: list[_Submitted[Any]] = []

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        future: _Submitted[Result] = _Submitted()
        if not may_block():
            _finish(future, lambda: fn(*args, **kwargs))
            return future

        async def run() -> None:
            async with self._free:
                _finish(future, lambda: fn(*args, **kwargs))

        future.task = asyncio.get_running_loop().create_task(run(), context=Context())
        self._submitted.append(future)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        del cancel_futures
        for future in self._submitted if wait else ():
            if not future.done():
                _block_until_done(future.task)


def _block_until_done(task: "asyncio.Task[None]") -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task.add_done_callback(lambda _: _wake(done))
    block(done)


def _finish(future: Future[Result], work: Callable[[], Result]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


class FiberSemaphore:
    """A semaphore for blocking code of tasks."""

    def __init__(self, value: int = 1) -> None:
        self._free = value
        self._waiting: list[asyncio.Future[None]] = []

    def acquire(self) -> bool:
        while self._free == 0:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(woken)
            block(woken)
        self._free -= 1
        return True

    def release(self) -> None:
        self._free += 1
        if self._waiting:
            _wake(self._waiting.pop(0))
