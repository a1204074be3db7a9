"""A bank that counts what it did: with idempotency keys or without, and with every way to leave a caller in doubt."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeAlias

from rollcall import NEVER_ARRIVED, Call, HttpError, Outcome, Response, Unanswered
from rollcall.adapters.ledger.records import entry_key
from rollcall.core.call import IDEMPOTENCY_HEADER, Request
from rollcall.core.entry import entry_id
from rollcall.core.job import Callback, Found, Probe
from tests.functional.wire import Killed
from tests.functional.world import RUN, Called, FakeTarget, World, a_job

#: How long an invocation takes at most, and after how long its messages are visible again.
INVOCATION = timedelta(seconds=100)
#: How long after a call money may still move.
SETTLES = timedelta(minutes=2)


@dataclass(frozen=True)
class Done:
    """Money moves, `after` a while; then the answer is lost, or the worker dies, or all is well."""

    then: BaseException | None = None
    after: timedelta = timedelta(0)


#: What a call comes to: a status (2xx moves money), an error without any effect, or `Done`.
Step: TypeAlias = int | BaseException | Done
LOST = Done(Unanswered("connection reset"))
#: The request never reached the bank.
NOTHING = Unanswered("timed out")


def late(seconds: float) -> Done:
    return Done(Unanswered("timed out"), timedelta(seconds=seconds))


class Bank(FakeTarget):
    """Moves money for `POST /transfers/KEY`, and tells of it for `GET`."""

    def __init__(self, world: World, *, takes_keys: bool) -> None:
        super().__init__(world.clock)
        self._world = world
        self._takes_keys = takes_keys
        self._steps: dict[str, Iterator[Step]] = {}
        self._found: dict[str, Iterator[int | BaseException | None]] = {}
        self._known: dict[str, int] = {}
        self._booked: dict[str, list[datetime]] = {}
        self.refused: set[str] = set()
        self.questions: list[Called] = []
        self.under_way = self.most_under_way = 0

    def on_call(self, key: str, *steps: Step, then: Step = 200) -> None:
        """What calls for `key` come to, in order, and ever after."""
        self._steps[key] = itertools.chain(steps, itertools.repeat(then))

    def on_question(self, key: str, *answers: int | BaseException | None, then: int | BaseException | None) -> None:
        """What questions about `key` come to; None is the truth."""
        self._found[key] = itertools.chain(answers, itertools.repeat(then))

    @property
    def effects(self) -> Counter[str]:
        """How often money moved, or will have moved, for each entry."""
        return Counter({key: len(times) for key, times in self._booked.items()})

    async def send(self, request: Request) -> Response:
        key = request.path.rsplit("/", 1)[-1]
        called = Called(key, request.headers[IDEMPOTENCY_HEADER], self._clock.now())
        if request.method == "GET":
            self.questions.append(called)
            return self._tell(key)
        self.calls.append(called)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            return self._move(called)
        finally:
            self.under_way -= 1

    def _move(self, called: Called) -> Response:
        step = next(self._steps[called.key]) if called.key in self._steps else 200
        known = self._known.get(called.idempotency_key) if self._takes_keys else None
        if isinstance(step, BaseException):
            self._fail(step)
        status = 200 if isinstance(step, Done) else step
        if known is None and (200 <= status < 300 or status == 422):
            self._known[called.idempotency_key] = status
        if known is None and 200 <= status < 300:
            after = step.after if isinstance(step, Done) else timedelta(0)
            self._booked.setdefault(called.key, []).append(self._clock.now() + after)
        elif known is None and status == 422:
            self.refused.add(called.key)
        if isinstance(step, Done) and step.then is not None:
            self._fail(step.then)
        return Response(known or status, {}, b"")

    def _fail(self, error: BaseException) -> NoReturn:
        if isinstance(error, Killed):
            self._world.wire.kill_before(1)
        raise error

    def _tell(self, key: str) -> Response:
        answer = next(self._found[key]) if key in self._found else None
        if isinstance(answer, BaseException):
            raise answer
        if answer is not None:
            return Response(answer, {}, b"")
        if any(at <= self._clock.now() for at in self._booked.get(key, [])):
            return Response(200, {}, json.dumps({"state": "booked"}).encode())
        if key in self.refused:
            return Response(200, {}, json.dumps({"state": "refused"}).encode())
        return Response(404, {}, b"")


async def transfer(payload: Any, call: Call) -> None:
    """The callback."""
    await call.http.post(f"/transfers/{call.key}", json=payload)


async def ask(payload: Any, call: Call) -> Found:
    """The probe."""
    del payload
    try:
        found = await call.http.get(f"/transfers/{call.key}")
    except HttpError as error:
        if error.status == 404:
            return NEVER_ARRIVED
        raise
    return Outcome.REJECTED if found.json()["state"] == "refused" else Outcome.SUCCEEDED


def bury(world: World) -> None:
    """Nothing of a worker that was killed goes on."""
    loop = world.runner.get_loop()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    world.wire.heal()


def handle_all(world: World, *, rounds: int = 400) -> None:
    """Workers handle the queue by the rules of Lambda and SQS until it is empty; one that dies is followed by another
    once its messages are visible again.
    """
    worker = world.worker()
    for _ in range(rounds):
        try:
            records = world.receive()
            if records:
                stays = set(world.work(records, worker=worker, time=INVOCATION))
                world.delete(record for record in records if record["messageId"] not in stays)
            elif world.on_queue() == 0:
                return
            else:
                world.later(timedelta(seconds=10))
        except Killed:
            bury(world)
            worker = world.worker()
    raise AssertionError(f"{world.on_queue()} messages stay on the queue")


def open_bank(
    world: World, number: int, *, probe: Probe | None = ask, callback: Callback = transfer, **options: Any
) -> Bank:
    """A run of `number` transfers by a bank that takes no keys."""
    world.target = bank = Bank(world, takes_keys=False)
    job = world.declare(a_job(**{"keys": None, "settles_within": SETTLES, **options}), callback)
    if probe is not None:
        job.probe(probe)
    world.begin(number)
    return bank


def work(world: World, *indexes: int, receives: int = 1, **more: Any) -> list[str]:
    """An invocation for these entries; returns the ids that stay on the queue."""
    return world.work(world.batch(*indexes, receives=receives, **more), time=INVOCATION)


def entry_of(world: World, index: int) -> dict[str, Any]:
    """What the ledger says of an entry."""
    return world.entry(f"D{index:02}", index)


def item_of(index: int) -> str:
    """The key of an entry's item."""
    return entry_key(RUN, entry_id(f"D{index:02}", index))
