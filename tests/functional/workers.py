"""What stories about workers share."""
# ruff: noqa: ARG001 - a callback takes a payload and a call, whichever of them a story needs

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rollcall import Breaker, Call, Overlap
from rollcall.adapters.ledger import targets
from rollcall.adapters.ledger.records import target_key
from rollcall.core.run import TargetRecord, run_id
from tests.functional.wire import Sent
from tests.functional.world import DAY, DUE, NAME, World, a_job

TOMORROW = run_id(NAME, DUE + DAY)
SECOND = timedelta(seconds=1)
#: How long a breaker is open, and the item that says so.
PAUSE = 60 * SECOND
TARGET = target_key("accounting")
#: The longest that an event of ten may take with the default target: below it, nothing is called any more.
TOO_SHORT = timedelta(seconds=10)


class WorkerKilled(BaseException):
    """The process ends in the middle of a call, as by os._exit or the out-of-memory killer."""


def ids(records: list[dict[str, Any]]) -> list[str]:
    return [record["messageId"] for record in records]


def waits(world: World, records: list[dict[str, Any]]) -> list[int | None]:
    """By how many seconds each record was put off, or None."""
    put_off = world.waits()
    return [put_off.get(record["receiptHandle"]) for record in records]


def writes_to_chunks(world: World) -> list[str]:
    return [sent.key for sent in world.wire.of("UpdateItem") if sent.key.startswith("node#") and "#0#" in sent.key]


def killed_by(world: World, records: list[dict[str, Any]]) -> None:
    """A worker's environment that dies with this batch."""
    with pytest.raises(WorkerKilled):
        world.work(records)
    world.wire.heal()


def two_runs(world: World, number: int) -> None:
    """The same entities in two runs, one after the other: two messages in every group."""
    world.declare(a_job(overlap=Overlap.ALLOW))
    world.begin(number)
    world.begin(number, scheduled_for=DUE + DAY)


def make_suspect(world: World, *indexes: int) -> None:
    """Two workers died with these entries: the second one had noted them as begun."""

    async def die(deposit: Any, call: Call) -> None:
        raise WorkerKilled

    callback, world.job._callback = world.job._callback, die
    killed_by(world, world.batch(*indexes))
    killed_by(world, world.batch(*indexes, receives=2))
    world.job._callback = callback
    assert world.chunk(indexes[0]).begun >= {index % 5 for index in indexes}


def throttled(*keys: str) -> Callable[[Sent], None]:
    """DynamoDB refuses writes of these items."""

    def before(sent: Sent) -> None:
        if sent.operation == "UpdateItem" and sent.key in keys:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "UpdateItem")

    return before


def state(world: World) -> TargetRecord:
    """The target as the ledger has it."""
    return world.ledger.target("accounting")


def writes_to_target(world: World) -> int:
    return sum(sent.key == TARGET for sent in world.wire.of("UpdateItem"))


def fail(world: World, *indexes: int, answer: int = 503) -> None:
    for index in indexes:
        world.target.script(f"D{index:02}", then=answer)


def opened(world: World, *, entries: int = 20) -> None:
    """A run under way whose target's breaker has just been opened by somebody else."""
    world.begin(entries)
    targets.open_breaker(world.ledger, state(world), Breaker(), world.clock.now(), "HTTP 503")
