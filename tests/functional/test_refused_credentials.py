"""Refused credentials: one entry's own fault, or everybody's, and then it is found out at once."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rollcall import Outcome, Response
from rollcall.core.actions import Action
from rollcall.core.call import Request
from rollcall.engine.worker.circuit_breaker import REFUSALS
from tests.functional.workers import SECOND, fail, ids, state, writes_to_target
from tests.functional.world import DUE, World, a_job

Send = Callable[[Request], Awaitable[Response]]


def test_one_entry_that_is_always_forbidden_stops_nobody_and_ends_rejected(world: World) -> None:
    world.begin(12)
    fail(world, 3, answer=403)
    world.drain()
    assert world.outcomes() == {Outcome.SUCCEEDED: 11, Outcome.REJECTED: 1}
    detail = world.entry("D03", 3)["g1_rejected"]
    assert (detail["error"], detail["reason"]) == ("http_403", "HTTP 403: says 403")
    assert world.events.count(Action.BREAKER_OPENED) == 0
    assert world.target.times()["D03"] == 1


def test_one_entry_that_is_always_forbidden_is_found_out_one_call_at_a_time_too(world: World) -> None:
    world.declare(a_job(keys=None))
    world.begin(12)
    fail(world, 3, answer=403)
    world.drain()
    assert world.outcomes() == {Outcome.SUCCEEDED: 11, Outcome.REJECTED: 1}
    assert world.entry("D03", 3)["g1_rejected"]["error"] == "http_403"
    assert world.events.count(Action.BREAKER_OPENED) == 0


def test_two_entries_that_are_forbidden_among_others_stop_nobody(world: World) -> None:
    world.begin(12)
    fail(world, 8, 9, answer=403)
    world.drain()
    assert world.outcomes() == {Outcome.SUCCEEDED: 10, Outcome.REJECTED: 2}
    assert writes_to_target(world) == 0


def test_a_lone_entry_that_is_forbidden_ends_rejected(world: World) -> None:
    world.begin(1)
    fail(world, 0, answer=403)
    world.drain()
    assert world.outcomes() == {Outcome.REJECTED: 1}
    assert len(world.target.calls) == 4


@pytest.mark.parametrize("options", [{}, {"keys": None}], ids=["keys", "claims"])
@pytest.mark.parametrize("begun", [0, 10], ids=["from the start", "in the middle"])
def test_revoked_credentials_open_it_at_once_and_reject_nobody(world: World, options: Any, begun: int) -> None:
    revoked = False

    async def send(request: Request) -> Response:
        answer = await world.target.send(request)
        return Response(401, {}, b"who are you?") if revoked else answer

    world.declare(a_job(**options))
    world.begin(20)
    worker = world.worker(send)
    if begun:
        assert world.work(world.batch(*range(begun)), worker=worker) == []
        world.later(SECOND)
    revoked = True
    batch = world.batch(*range(begun, 10 + begun))
    world.target.calls.clear()
    assert set(world.work(batch, worker=worker)) == set(ids(batch))
    assert len(world.target.calls) == (REFUSALS if options else 10)
    assert world.outcomes() == ({Outcome.SUCCEEDED: begun} if begun else {})
    assert "credentials refused: HTTP 401" in (state(world).reason or "")
    for receives in range(2, 5):  # it is tried in vain
        world.clock.set(state(world).open_until or DUE)
        world.target.calls.clear()
        world.work(world.batch(*range(begun, 10 + begun), receives=receives), worker=worker)
        assert len(world.target.calls) == 1
    revoked = False
    world.clock.set(state(world).open_until or DUE)
    assert world.work(world.batch(*range(begun, 10 + begun), receives=5), worker=worker) == []
    assert world.outcomes() == {Outcome.SUCCEEDED: 10 + begun}


def test_credentials_revoked_are_found_out_by_single_entries_too(world: World) -> None:
    world.begin(5)
    fail(world, *range(5), answer=401)
    worker = world.worker()
    for index in range(REFUSALS):
        assert state(world).open_until is None
        world.work(world.batch(index), worker=worker)
    assert state(world).open_until is not None
    assert world.outcomes() == {}
