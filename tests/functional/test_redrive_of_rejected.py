"""A redrive of entries that were rejected before any call."""

from typing import Any

import pytest
from pydantic import BaseModel

from rollcall import Call, Entry, Outcome
from rollcall.core.job import Job
from tests.functional.redrives import again, lines
from tests.functional.world import World, a_job


class Deposit(BaseModel):
    amount: int


async def put_deposit(deposit: Deposit, call: Call) -> None:
    await call.http.put(f"/deposits/{call.key}", json=deposit.model_dump())


async def put_anything(deposit: Any, call: Call) -> None:
    await call.http.put(f"/deposits/{call.key}", json=deposit)


def rejected_first(world: World, *report: Entry, job: Job | None = None) -> None:
    world.declare(job or a_job(), put_deposit)
    world.report = report
    world.start()
    world.drain()
    world.announce()


def test_what_was_invalid_is_checked_by_the_job_as_it_is_today(world: World) -> None:
    rejected_first(world, Entry("D00", {"amount": "much"}), Entry("D01", {"amount": 1}))
    assert again(world) == []
    assert world.failures()["D00"].outcome is Outcome.REJECTED
    world.declare(a_job(), put_anything)
    assert again(world) == ["D00"]
    assert world.outcomes() == {Outcome.SUCCEEDED: 1}


def test_an_invalid_entry_keeps_its_business_key(world: World) -> None:
    rejected_first(world, Entry("D00", {"amount": "much"}, "invoice 7"))
    world.declare(a_job(moves_money=True), put_anything)
    assert again(world) == ["D00"]
    assert world.target.calls[0].idempotency_key == "invoice 7"


def test_money_is_never_moved_without_a_business_key(world: World) -> None:
    rejected_first(world, Entry("D00", {"amount": 1}), job=a_job(moves_money=True))
    assert again(world) == []
    assert again(world, new_key=True) == []
    assert "no idempotency key of its own" in (world.failures()["D00"].reason or "")


@pytest.mark.parametrize(
    "entry",
    [
        Entry("D00", {"amount": "x" * 140_000}),
        Entry("D00", {"amount": 1}, ""),
        Entry("D00", {"amount": 1}, "x" * 2_000),
    ],
    ids=["its payload is not kept", "an empty key", "a long key"],
)
def test_what_the_source_gave_and_nobody_kept_stays_rejected_for_its_reason(world: World, entry: Entry) -> None:
    rejected_first(world, entry)
    reason = world.failures()["D00"].reason
    world.declare(a_job(), put_anything)
    assert again(world) == []
    assert world.failures()["D00"].reason == reason


def test_an_entry_without_a_key_is_listed_once_and_not_settled_again(world: World) -> None:
    rejected_first(world, Entry(None, {"amount": 1}), Entry("D01", {"amount": "much"}))
    for _ in range(3):
        again(world)
        assert [line.key for line in lines(world)] == ["D01"]
        assert world.failures().keys() == {None, "D01"}
