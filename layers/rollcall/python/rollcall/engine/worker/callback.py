"""One call of a job's callback or probe, and the answer that its end amounts to."""

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, cast
from urllib.parse import quote

from rollcall.core import answers
from rollcall.core.answers import Answer
from rollcall.core.buckets import Objects, no_buckets
from rollcall.core.call import Call, Http, Send
from rollcall.core.clock import Clock
from rollcall.core.errors import RollcallError, Unanswered
from rollcall.core.job import Job
from rollcall.core.message import Message
from rollcall.core.redaction import Redact, unredacted
from rollcall.core.run import RunRecord
from rollcall.core.tables import Items
from rollcall.core.target import Bucket, Table
from rollcall.core.values import digest

Function = Callable[[Any, Call], object]

#: Seconds added to the timeout, so that the HTTP client, which reports more exactly, times out first.
GRACE = 0.05
_is_async = lru_cache(inspect.iscoroutinefunction)


def own_key(run: str, key: str, idempotency_key: str | None) -> str:
    """Return the idempotency key of an entry's calls, in ASCII and the same for every attempt.

    It is the entry's own idempotency key if it has one, else derived from run and entry.
    """
    if idempotency_key is not None:
        return quote(idempotency_key, safe="!#$&'()*+,-./:;<=>?@[]^_`{|}~ ")
    return f"{run}-{digest(key)[:32]}"


class Caller:
    """A caller of a job's callback and probe; belongs to one event loop."""

    def __init__(
        self,
        job: Job,
        send: Send,
        secret: Callable[[str], str],
        table: Callable[[Table], Items],
        clock: Clock,
        bucket: Callable[[Bucket], Objects] = no_buckets,
        redact: Redact = unredacted,
    ) -> None:
        self._job = job
        self._send = send
        self._secret = secret
        self._table = table
        self._bucket = bucket
        self._clock = clock
        self._redact = redact

    async def attempt(self, run: RunRecord, message: Message, number: int, *, unanswered_before: bool) -> Answer:
        """Make attempt `number` and return its answer; every error of the callback is an answer."""
        http = self._http(message)
        try:
            payload = self._job.payloads.build(message.payload)
        except Exception as error:
            return replace(self._answer(error), never_executed=True, definite=True)
        try:
            result = await self._limited(self._job.callback_function, payload, run, message, number, http)
            answer = answers.of_result(result)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _cancelled_from_outside():
                raise
            answer = self._answer(error, unanswered_before=unanswered_before)
        if http.unanswered and answer.outcome is None:
            answer = replace(answer, answered=False, definite=False, never_executed=False)
        elif answer.never_executed and answer.error != answers.TRY_AGAIN and self._may_have_done_something(http):
            answer = replace(answer, definite=False, never_executed=False)
        return answer

    async def ask(self, run: RunRecord, message: Message, number: int) -> Answer | None:
        """Ask the probe for the `number`-th time about an earlier call; None if it never arrived.

        An answer without an outcome means that the probe could not find out. Raises nothing.
        """
        try:
            probe = self._job.probe_function
            if probe is None:
                raise RollcallError(f"{self._job.name} has no probe")
            payload = self._job.payloads.build(message.payload)
            return answers.of_found(await self._limited(probe, payload, run, message, number, self._http(message)))
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _cancelled_from_outside():
                raise
            answer = self._answer(error)
            return replace(answer, outcome=None, answered=False, definite=False)

    def _answer(self, error: BaseException, *, unanswered_before: bool = False) -> Answer:
        now, target = self._clock.now(), self._job.target
        return answers.of_error(error, now, target, unanswered_before=unanswered_before, redact=self._redact)

    def _may_have_done_something(self, http: Http) -> bool:
        """Return whether an earlier request of the call may have had an effect."""
        harmless = answers.REFUSED_CREDENTIALS | self._job.target.never_executed
        return http.unanswered or not harmless.issuperset(http.statuses)

    def _http(self, message: Message) -> Http:
        return Http(self._send, own_key(message.run, message.key, message.idempotency_key), self._redact)

    async def _limited(
        self, function: Function, payload: object, run: RunRecord, message: Message, number: int, http: Http
    ) -> object:
        waited_for: list[Future[Any]] = []
        try:
            call = self._call(run, message, number, http, waited_for)
            return await self._until_cut_off(function, payload, call)
        finally:
            http.over = True
            for each in waited_for:
                each.cancel()

    async def _until_cut_off(self, function: Function, payload: object, call: Call) -> object:
        limit = self._job.target.timeout.total_seconds()
        timeout = asyncio.timeout(limit + GRACE)
        try:
            async with timeout:
                result = function(payload, call) if _is_async(function) else await _in_thread(function, payload, call)
                return await cast(Awaitable[object], result) if inspect.isawaitable(result) else result
        except TimeoutError as error:
            if not timeout.expired():
                raise
            raise Unanswered(f"the call was cut off after {limit:g} s") from error

    def _call(self, run: RunRecord, message: Message, number: int, http: Http, waited_for: "list[Future[Any]]") -> Call:
        loop = asyncio.get_running_loop()

        def wait(coroutine: Coroutine[Any, Any, Any]) -> Any:
            waited_for.append(asyncio.run_coroutine_threadsafe(coroutine, loop))
            return waited_for[-1].result()

        return Call(
            run_id=run.id,
            key=message.key,
            idempotency_key=http.idempotency_key,
            attempt=number,
            last_attempt=number > self._job.retry.retries,
            scheduled_for=run.scheduled_for,
            late_by=self._clock.now() - run.scheduled_for,
            remaining=self._job.target.timeout,
            http=http,
            _secret=self._secret,
            _table=self._table,
            _wait=wait,
            _bucket=self._bucket,
        )


async def _in_thread(function: Function, payload: object, call: Call) -> object:
    """Run a plain function in a new thread.

    A function that hangs cannot be ended. In a pool, it would keep others waiting.
    """
    ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    threading.Thread(target=_call_plain, args=(function, payload, call, ended), daemon=True).start()
    return await ended


def _call_plain(function: Function, payload: object, call: Call, ended: "asyncio.Future[object]") -> None:
    try:
        tell = partial(_succeed, ended, function(payload, call))
    except StopIteration as error:
        # A future cannot hold a StopIteration.
        tell = partial(_fail, ended, RuntimeError(f"the callback raised {error!r}"))
    except BaseException as error:
        tell = partial(_fail, ended, error)
    with contextlib.suppress(RuntimeError):  # the loop is closed, so no caller waits
        ended.get_loop().call_soon_threadsafe(tell)


def _succeed(ended: "asyncio.Future[object]", result: object) -> None:
    if not ended.done():
        ended.set_result(result)


def _fail(ended: "asyncio.Future[object]", error: BaseException) -> None:
    if not ended.done():
        ended.set_exception(error)


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
