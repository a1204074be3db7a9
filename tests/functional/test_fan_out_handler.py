"""Fan-out's entry point: what one event of the scheduler starts, and when."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from functions._runtime import InvocationFailed
from functions.fan_out import handler as fan_out
from rollcall import Overlap, every
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunState, run_id
from rollcall.engine.fan_out.fan_out import FanOut
from tests.functional.wire import Sent
from tests.functional.world import DUE, LEASE, NAME, World, a_job, entries

pytestmark = pytest.mark.on_moto

TICKS = [DUE + timedelta(seconds=seconds) for seconds in (0, 15, 30, 45)]
RUNS = [run_id(NAME, tick) for tick in TICKS]


@pytest.fixture
def four_a_minute(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The entry point, over the world, for a job that is due every fifteen seconds."""

    class Runtime:
        clock = world.clock
        new_token = world.token

        @property
        def job(self) -> Any:
            return world.job

        @property
        def fan_out(self) -> FanOut:
            return world.fan_out()

        def deadline(self, _: object) -> datetime:
            return world.clock.now() + LEASE

    job = a_job(overlap=Overlap.ALLOW)
    job.schedule = every(seconds=15)
    world.declare(job)
    world.report = entries(3)
    monkeypatch.setattr(fan_out, "runtime", Runtime())
    return world


def handle(event: dict[str, Any]) -> dict[str, Any]:
    context: Any = SimpleNamespace(aws_request_id="1", get_remaining_time_in_millis=lambda: 900_000)
    return fan_out.handler(event, context)


FIRING = {"scheduled_time": "2026-11-21T02:30:00Z"}


def test_every_tick_of_a_firing_starts_at_its_time(four_a_minute: World) -> None:
    assert handle(FIRING) == {"runs": dict.fromkeys(RUNS, "running")}
    assert [four_a_minute.run(run).scheduled_for for run in RUNS] == TICKS
    assert [four_a_minute.run(run).started_at for run in RUNS] == TICKS


def test_a_firing_that_comes_late_starts_the_ticks_that_are_past_at_once_and_no_other_early(
    four_a_minute: World,
) -> None:
    four_a_minute.later(timedelta(seconds=20))
    handle(FIRING)
    late = DUE + timedelta(seconds=20)
    assert [four_a_minute.run(run).started_at for run in RUNS] == [late, late, *TICKS[2:]]


def test_a_manual_start_is_one_run_at_once(four_a_minute: World) -> None:
    assert handle({**FIRING, "nonce": "again"}) == {"runs": {f"{RUNS[0]}-again": "running"}}
    assert four_a_minute.clock.now() == DUE


def test_a_start_that_lies_ahead_is_an_error_and_no_wait(four_a_minute: World) -> None:
    with pytest.raises(RollcallError, match="lies ahead; start a run when it is due"):
        handle({"scheduled_time": "2026-11-21T04:00:00Z", "nonce": "early"})
    assert four_a_minute.clock.now() == DUE


def test_a_tick_that_fails_keeps_none_of_the_others_and_is_raised(four_a_minute: World) -> None:
    def s3_is_down_for_a_moment(sent: Sent) -> None:
        if sent.operation == "PutObject" and four_a_minute.clock.now() == TICKS[1]:
            raise RuntimeError("S3 is down")

    four_a_minute.wire.before = s3_is_down_for_a_moment
    with pytest.raises(InvocationFailed, match="RuntimeError in s3_is_down_for_a_moment"):
        handle(FIRING)
    states = [four_a_minute.run(run).state for run in RUNS]
    assert states == [RunState.RUNNING, RunState.ENUMERATING, RunState.RUNNING, RunState.RUNNING]
    assert handle(FIRING) == {"runs": {RUNS[1]: "running"}}


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"plan": {"job": NAME, **FIRING}}, id="a request of a later version"),
        pytest.param({**FIRING, "plan": {}}, id="a later version's field in a start"),
        pytest.param({"job": NAME, **FIRING, "unknown": True}, id="an unknown field"),
    ],
)
def test_an_event_of_a_later_version_starts_nothing(four_a_minute: World, event: dict[str, Any]) -> None:
    with pytest.raises(RollcallError, match=r"fields that this version does not know here: '(plan|unknown)'"):
        handle(event)
    assert four_a_minute.ledger_dump() == []
    assert four_a_minute.manifest_keys() == []
