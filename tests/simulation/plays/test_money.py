"""Money moves once: with idempotency keys, and without them by claims and a probe, whoever dies meanwhile."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest

from rollcall import NEVER_ARRIVED, Call, Entry, Job, Keys, NeverArrived, Outcome, Retry, Run, Target, daily
from rollcall.adapters.manifests import Manifests
from rollcall.core.call import Request, Response
from rollcall.core.run import Redrive, RunRecord
from rollcall.engine.runs.failures import failures
from tests.simulation.models.gate import Answer, Crash, Sent, Serve
from tests.simulation.plays.bank import SimulatedBank
from tests.simulation.plays.cloud import SimulatedCloud
from tools.local_cloud.resources import MANIFESTS

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
KEYED, CLAIMED = Keys(window=timedelta(hours=20)), None


def transfers(number: int, keys: Keys | None, *, probe: bool = True, retries: int = 3) -> Job:
    """A job that orders each of its transfers at the bank."""
    bank = Target("bank", concurrency=50, timeout=timedelta(seconds=10), keys=keys, settles_within=5 * MINUTE)
    job = Job(
        "pay", schedule=daily("05:00"), target=bank, concurrency=50, moves_money=True, retry=Retry(retries=retries)
    )

    @job.source
    def due(run: Run) -> Iterator[Entry]:
        for index in range(number):
            reference = f"T{index:05}-{run.scheduled_for:%Y%m%d}"
            yield Entry(reference, {"reference": reference}, idempotency_key=reference)

    @job.callback
    async def pay(order: dict[str, Any], call: Call) -> None:
        await call.http.post("/transfers", json=order)

    async def ask(order: dict[str, Any], call: Call) -> Outcome | NeverArrived:
        known = (await call.http.get(f"/transfers?reference={order['reference']}")).json()
        if known["booked"]:
            return Outcome.SUCCEEDED
        return Outcome.REJECTED if known["refused"] else NEVER_ARRIVED

    if probe:
        job.probe(ask)
    return job


class Deaths:
    """Every n-th request of the workers to the ledger kills the worker that makes it, before or after it is served."""

    def __init__(self, every: int) -> None:
        self.every, self.made, self.died = every, 0, 0

    def __call__(self, sent: Sent, serve: Serve) -> Answer:
        if "worker" not in sent.origin or sent.operation != "UpdateItem":
            return serve()
        self.made += 1
        if self.made % self.every:
            return serve()
        self.died += 1
        if self.died % 2:
            serve()
        raise Crash(f"at {sent}")


def banked(job: Job, **options: Any) -> tuple[SimulatedCloud, SimulatedBank]:
    cloud = SimulatedCloud([job])
    bank = SimulatedBank(cloud.clock, keys=job.target.keys is not None, **options)
    cloud.targets["bank"] = bank  # type: ignore[assignment]
    return cloud, bank


def unknown(cloud: SimulatedCloud, run: RunRecord) -> list[str | None]:
    manifests = Manifests(cloud.observer.s3, MANIFESTS)
    return [failure.key for failure in failures(cloud.ledger, manifests, run, [Outcome.UNKNOWN])]


@pytest.mark.parametrize(("keys", "every"), [(KEYED, 20), (CLAIMED, 200)], ids=["with keys", "with claims"])
def test_five_thousand_transfers_move_once_each(keys: Keys | None, every: int) -> None:
    """The bank loses 1 % of its answers after moving the money and books some late; workers die all the time."""
    cloud, bank = banked(transfers(5_000, keys), lost=0.01, late=0.005, refused=0.01)
    deaths = Deaths(every)
    with cloud:
        cloud.services.gate.interceptor = deaths
        run = cloud.fire(cloud.jobs[0])
        cloud.run_until_announced(run)
        cloud.pass_time(HOUR)
        outcomes = cloud.outcomes(run)
        assert deaths.died > 20
        assert bank.moved_twice() == []
        assert len(bank.movements) == outcomes[Outcome.SUCCEEDED]
        assert outcomes[Outcome.SUCCEEDED] + outcomes[Outcome.REJECTED] == 5_000
        assert outcomes.keys() == {Outcome.SUCCEEDED, Outcome.REJECTED}
        if keys is CLAIMED:
            assert sum(bank.questions.values()) > 50


def test_without_a_probe_what_was_not_answered_is_unknown_and_never_called_again() -> None:
    cloud, bank = banked(transfers(1_000, CLAIMED, probe=False), lost=0.02, late=0.01)
    deaths = Deaths(every=100)
    with cloud:
        cloud.services.gate.interceptor = deaths
        job = cloud.jobs[0]
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        cloud.pass_time(HOUR)
        listed = unknown(cloud, cloud.run(run))
        assert len(listed) == cloud.outcomes(run)[Outcome.UNKNOWN] > 20
        assert bank.moved_twice() == []
        assert set(bank.orders.values()) == {1}
        cloud.services.gate.interceptor = None
        redrive(cloud, run)
        assert set(bank.orders.values()) == {1}
        assert cloud.outcomes(run) == {Outcome.UNKNOWN: len(listed)}


@pytest.mark.parametrize("after", [HOUR, 2 * DAY], ids=["within the window", "when the bank has forgotten its keys"])
@pytest.mark.parametrize("keys", [KEYED, CLAIMED], ids=["with keys", "with claims"])
def test_a_redrive_of_the_unknown_moves_nothing_twice(keys: Keys | None, after: timedelta) -> None:
    """They were left unknown by a job that had no probe; now it has one."""
    cloud, bank = banked(transfers(1_000, keys, probe=False, retries=0), lost=0.02, late=0.01)
    with cloud:
        job = cloud.jobs[0]
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        left = cloud.outcomes(run)[Outcome.UNKNOWN]
        assert left > 20
        cloud.pass_time(after)
        job.probe(cast(Callable[..., Any], transfers(1, keys).probe_function))
        redrive(cloud, run)
        assert cloud.outcomes(run) == {Outcome.SUCCEEDED: left}
        assert bank.moved_twice() == []
        assert len(bank.movements) == 1_000


def test_a_call_that_never_reached_the_bank_is_made_again_by_a_redrive() -> None:
    """The bank knows nothing of it: then, and only then, it is called once more."""
    cloud, bank = banked(transfers(50, CLAIMED, retries=0))
    with cloud:
        job = cloud.jobs[0]
        deaths = Deaths(every=10)
        cloud.services.gate.interceptor = deaths
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        assert deaths.died > 0
        cloud.services.gate.interceptor = None
        if cloud.outcomes(run).get(Outcome.FAILED):
            redrive(cloud, run)
        assert bank.moved_twice() == []
        assert len(bank.movements) == 50


def redrive(cloud: SimulatedCloud, run: str) -> None:
    """Everything that did not succeed, once more, until that is announced."""
    generation = cloud.run(run).generation
    cloud.pass_time(5 * MINUTE)
    cloud.redrive(cloud.jobs[0], run, Redrive())
    cloud.run_until(lambda: any(each["id"] == f"{run}/{generation + 1}" for each in cloud.announcements))


def test_refused_credentials_say_nothing_of_a_call_before_them_that_was_not_answered() -> None:
    """The money has moved, the answer is lost, and then nobody is let in for a while."""
    cloud, bank = banked(transfers(40, KEYED), lost=1.0)
    with cloud:
        shut_until = cloud.clock.now() + 10 * MINUTE
        honest, called = bank.send, 0

        async def send(request: Request, origin: str = "") -> Response:
            nonlocal called
            called += 1
            if called > 40 and cloud.clock.now() < shut_until:
                return Response(401, {}, b"who are you?")
            return await honest(request, origin)

        bank.send = send  # type: ignore[method-assign]
        run = cloud.fire(cloud.jobs[0])
        cloud.run_until_announced(run)
        assert cloud.outcomes(run) == {Outcome.SUCCEEDED: 40}
        assert bank.moved_twice() == []


def test_an_answer_that_leaves_open_whether_money_moved_is_asked_about_once_keys_are_forgotten() -> None:
    """A bank that answers 500 after the money has moved; somebody settles it again two days later."""
    cloud, bank = banked(transfers(20, KEYED, retries=0))
    with cloud:
        honest = bank.send

        async def send(request: Request, origin: str = "") -> Response:
            answer = await honest(request, origin)
            return answer if request.method == "GET" else Response(500, {}, b"oops")

        bank.send = send  # type: ignore[method-assign]
        run = cloud.fire(cloud.jobs[0])
        cloud.run_until_announced(run)
        assert cloud.outcomes(run) == {Outcome.FAILED: 20}
        cloud.pass_time(2 * DAY)
        redrive(cloud, run)
        assert cloud.outcomes(run) == {Outcome.SUCCEEDED: 20}
        assert bank.moved_twice() == []
