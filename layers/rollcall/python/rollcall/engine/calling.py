"""One attempt: the callback with its payload and call, and what its end means."""

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, cast
from urllib.parse import quote

from rollcall.core import answers
from rollcall.core.answers import Answer
from rollcall.core.call import Call, Http, Send
from rollcall.core.clock import Clock
from rollcall.core.errors import Unanswered
from rollcall.core.job import Job
from rollcall.core.message import Message
from rollcall.core.run import RunRecord
from rollcall.core.values import digest


def idempotency_key(message: Message) -> str:
    """The entry's own business key, else run and entry; ASCII, and the same whenever the entry is called."""
    if message.idempotency_key is not None:
        return quote(message.idempotency_key, safe="!#$&'()*+,-./:;<=>?@[]^_`{|}~ ")
    return f"{message.run}-{digest(message.key)[:32]}"


class Caller:
    """Calls a job's callback; belongs to one event loop."""

    def __init__(self, job: Job, send: Send, secret: Callable[[str], str], clock: Clock) -> None:
        self._job = job
        self._callback = job.callback_function
        self._send = send
        self._secret = secret
        self._clock = clock
        self._plain = not inspect.iscoroutinefunction(job.callback_function)

    async def attempt(self, run: RunRecord, message: Message, number: int, *, unanswered_before: bool) -> Answer:
        """The answer to attempt `number`. Raises nothing: whatever the callback does is an answer."""
        http = Http(self._send, idempotency_key(message))
        try:
            result = await self._limited(run, message, number, http)
            answer = answers.of_result(result)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _cancelled_from_outside():
                raise
            answer = answers.of_error(error, self._clock.now(), unanswered_before=unanswered_before)
        if http.unanswered and answer.outcome is None:
            answer = replace(answer, answered=False)
        return answer

    async def _limited(self, run: RunRecord, message: Message, number: int, http: Http) -> object:
        payload = self._job.payloads.build(message.payload)
        call = self._call(run, message, number, http)
        limit = self._job.target.timeout.total_seconds()
        timeout = asyncio.timeout(limit)
        try:
            async with timeout:
                result = await self._in_thread(payload, call) if self._plain else self._callback(payload, call)
                return await cast(Awaitable[object], result) if inspect.isawaitable(result) else result
        except TimeoutError as error:
            if not timeout.expired():
                raise
            raise Unanswered(f"the call was cut off after {limit:g} s") from error

    async def _in_thread(self, payload: object, call: Call) -> object:
        """A plain callback, in a thread of its own: one that hangs cannot be ended, and must not keep another out."""
        ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        threading.Thread(target=self._call_plain, args=(payload, call, ended), daemon=True).start()
        return await ended

    def _call_plain(self, payload: object, call: Call, ended: "asyncio.Future[object]") -> None:
        try:
            tell = partial(_succeed, ended, self._callback(payload, call))
        except StopIteration as error:
            # One cannot pass through a future.
            tell = partial(_fail, ended, RuntimeError(f"the callback raised {error!r}"))
        except BaseException as error:
            tell = partial(_fail, ended, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            ended.get_loop().call_soon_threadsafe(tell)

    def _call(self, run: RunRecord, message: Message, number: int, http: Http) -> Call:
        now: datetime = self._clock.now()
        loop = asyncio.get_running_loop()

        def wait(coroutine: Coroutine[Any, Any, Any]) -> Any:
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

        return Call(
            run_id=run.id,
            key=message.key,
            idempotency_key=idempotency_key(message),
            attempt=number,
            scheduled_for=run.scheduled_for,
            late_by=now - run.scheduled_for,
            remaining=self._job.target.timeout,
            http=http,
            _secret=self._secret,
            _wait=wait,
        )


def _succeed(ended: "asyncio.Future[object]", result: object) -> None:
    if not ended.done():
        ended.set_result(result)


def _fail(ended: "asyncio.Future[object]", error: BaseException) -> None:
    if not ended.done():
        ended.set_exception(error)


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
