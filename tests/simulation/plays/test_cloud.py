"""The whole engine on the simulated cloud."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from rollcall import Call, Entry, Job, Rate, Retry, Run, Table, Target, daily
from rollcall.core.errors import Unanswered
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunState
from rollcall.core.sizing import FAN_OUT_TIMEOUT
from tests.simulation.models.gate import Answer, Crash, Sent, Serve
from tests.simulation.models.virtual_time import START
from tests.simulation.plays.cloud import SimulatedCloud
from tests.simulation.plays.target import Outage, failing

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def a_job(entries: int, **options: Any) -> Job:
    """A job that puts each of its entries to the target."""
    target = Target("accounting", concurrency=100, **options.pop("target", {}))
    options.setdefault("concurrency", 50)
    options.setdefault("retry", Retry(retries=3))
    job = Job(options.pop("name", "pay-deposits"), schedule=daily("02:30"), target=target, **options)

    @job.source
    def source(run: Run) -> Iterator[Entry]:
        del run
        for number in range(entries):
            yield Entry(f"D{number:06}", {"deposit": number})

    @job.callback
    async def put(deposit: dict[str, Any], call: Call) -> None:
        await call.http.put(f"/deposits/{call.key}", json=deposit)

    return job


def complete(cloud: SimulatedCloud, run: str, entries: int) -> None:
    """Assert that a run ended as it should, and that nothing is left of it."""
    assert cloud.run(run).state is RunState.COMPLETE
    assert cloud.outcomes(run) == {Outcome.SUCCEEDED: entries}
    assert [detail["clean"] for detail in cloud.announcements if detail["run"] == run] == [True]
    assert [cloud.on_queue(job) for job in cloud.jobs] == [0] * len(cloud.jobs)


def test_two_thousand_entries_complete_exactly_once() -> None:
    job = a_job(2_000)
    with SimulatedCloud([job]) as cloud:
        target = cloud.target(job)
        target.script = failing(0.01)
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        cloud.pass_time(10 * MINUTE)
        complete(cloud, run, 2_000)
        assert cloud.failures == []
        # As many effects as entries, and a call more for each 503.
        assert set(target.effects.values()) == {1}
        assert len(target.effects) == 2_000
        assert len(target.calls) == 2_000 + sum(count - 1 for count in target.times().values()) > 2_000
        assert target.peak <= 50


def test_a_simulation_is_repeatable() -> None:
    def story() -> list[Any]:
        job = a_job(300)
        with SimulatedCloud([job], scatter=50, seed=3) as cloud:
            cloud.target(job).script = failing(0.05)
            cloud.run_until_announced(cloud.fire(job))
            return [cloud.target(job).calls, cloud.requests, cloud.announcements]

    assert story() == story()


def test_the_watchdog_tops_up_a_window() -> None:
    job = a_job(3_000, window=1_000)
    with SimulatedCloud([job]) as cloud:
        run = cloud.fire(job)
        cloud.pass_time(SECOND / 10)
        assert 0 < cloud.on_queue(job) <= 1_000
        cloud.run_until_announced(run)
        complete(cloud, run, 3_000)
        assert cloud.clock.now() > START + MINUTE


def test_an_outage_is_waited_out() -> None:
    job = a_job(500, retry=Retry(retries=10, first=MINUTE))
    with SimulatedCloud([job]) as cloud:
        target = cloud.target(job)
        target.outages = [Outage(START, START + 5 * MINUTE)]
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        complete(cloud, run, 500)
        assert target.between(START + 5 * MINUTE, cloud.clock.now()) >= 500
        assert set(target.effects.values()) == {1}


def test_a_rate_is_kept_and_used() -> None:
    job = a_job(2_000, target={"rate": Rate.per_second(20)})
    with SimulatedCloud([job]) as cloud:
        target = cloud.target(job)
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        complete(cloud, run, 2_000)
        # The burst is a second's worth.
        assert target.most_within(SECOND) <= 20 + 20
        assert target.most_within(10 * SECOND) <= 200 + 20


def test_calls_that_are_never_answered_end_unknown() -> None:
    job = a_job(20, retry=Retry(retries=1))
    with SimulatedCloud([job]) as cloud:
        cloud.target(job).script = lambda key, _: Unanswered("reset") if key == "D000007" else None
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        assert cloud.outcomes(run) == {Outcome.SUCCEEDED: 19, Outcome.UNKNOWN: 1}


def test_a_target_that_hangs_is_left_in_time() -> None:
    job = a_job(10)
    with SimulatedCloud([job]) as cloud:
        target = cloud.target(job)
        target.latency = lambda _: 2 * HOUR if len(target.calls) <= 10 else SECOND
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        complete(cloud, run, 10)
        assert cloud.failures == []


def test_an_invocation_that_takes_too_long_is_ended_and_its_batch_comes_again() -> None:
    job = a_job(10)
    slow: list[str] = []
    with SimulatedCloud([job]) as cloud:

        def delay(sent: Sent, serve: Serve) -> Answer:
            if "worker" in sent.origin and sent.operation == "UpdateItem" and not slow:
                slow.append(sent.origin)
                cloud.clock.sleep(HOUR)
            return serve()

        cloud.services.gate.interceptor = delay
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        complete(cloud, run, 10)
        [failure] = cloud.failures
        assert "worker" in failure.function
        assert "timed out" in failure.reason
        assert slow[0] in cloud.services.gate.dead


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_workers_that_die_are_replaced(lost: str) -> None:
    """Every tenth request of a worker to the ledger kills it, before or after it is served."""
    job = a_job(200)
    made = 0

    def kill(sent: Sent, serve: Serve) -> Answer:
        nonlocal made
        if "worker" not in sent.origin or sent.operation != "UpdateItem":
            return serve()
        made += 1
        if made % 10:
            return serve()
        if lost == "answer":
            serve()
        raise Crash(f"before {sent}")

    with SimulatedCloud([job]) as cloud:
        cloud.services.gate.interceptor = kill
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        cloud.pass_time(10 * MINUTE)
        assert sum(cloud.outcomes(run).values()) == 200
        assert len({detail["id"] for detail in cloud.announcements}) == 1
        assert cloud.function("worker", job).failures
        # Each call that was made twice carried its key again.
        assert len(cloud.target(job).effects) == 200


@pytest.mark.parametrize("number", [1, 20, 60])
def test_a_fan_out_that_dies_is_taken_over(number: int) -> None:
    """The first one dies at one of its sends, and with it all that it would still have done."""
    job = a_job(1_000)

    def kill(sent: Sent, serve: Serve) -> Answer:
        dies = "fan-out/1" in sent.origin and sent.operation == "SendMessageBatch"
        if dies and cloud.requests["sqs", "SendMessageBatch"] == number:
            raise Crash(f"before {sent}")
        return serve()

    with SimulatedCloud([job]) as cloud:
        cloud.services.gate.interceptor = kill
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        complete(cloud, run, 1_000)
        assert [failure.function for failure in cloud.failures] == [cloud.function("fan_out", job).name]
        # The dead give nothing back: the lease runs to its end.
        assert cloud.clock.now() - START > FAN_OUT_TIMEOUT
        assert set(cloud.target(job).effects.values()) == {1}


def test_runs_of_two_jobs_share_a_target_and_no_messages() -> None:
    shared = {"concurrency": 20, "target": {"rate": Rate.per_second(50)}}
    jobs = [a_job(300, name=name, **shared) for name in ("pay-deposits", "pay-interest")]
    with SimulatedCloud(jobs) as cloud:
        runs = [cloud.fire(job) for job in jobs]
        cloud.run_until_announced(*runs)
        for run in runs:
            complete(cloud, run, 300)
        assert len(cloud.target(jobs[0]).calls) == 600
        assert cloud.target(jobs[0]).most_within(10 * SECOND) <= 500 + 50


def test_jobs_have_their_tables() -> None:
    deposits = Table("deposits", key="id", indexes=(("by-state", "state", "due"),))
    job = Job(
        "pay-deposits",
        schedule=daily("02:30"),
        target=Target("accounting", concurrency=100),
        needs=[deposits],
    )

    @job.source
    def source(run: Run) -> Iterator[Entry]:
        found = run.table(deposits).query(
            IndexName="by-state",
            KeyConditionExpression="#state = :open AND #due <= :today",
            ExpressionAttributeNames={"#state": "state", "#due": "due"},
            ExpressionAttributeValues={":open": "open", ":today": "2026-11-21"},
        )
        for item in found["Items"]:
            yield Entry(item["id"], {"deposit": item["id"]})

    @job.callback
    async def pay(deposit: dict[str, Any], call: Call) -> None:
        await call.http.put(f"/deposits/{call.key}", json=deposit)
        call.table(deposits).update_item(
            Key={"id": call.key},
            UpdateExpression="SET #state = :paid",
            ConditionExpression="#state = :open",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":paid": "paid", ":open": "open"},
        )

    with SimulatedCloud([job]) as cloud:
        table = cloud.items(deposits)
        for day in (22, 20, 21):
            table.put_item(Item={"id": f"D{day}", "state": "open", "due": f"2026-11-{day}"})
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        complete(cloud, run, 2)
        states = [table.get_item(Key={"id": f"D{day}"})["Item"]["state"] for day in (20, 21, 22)]
        assert states == ["paid", "paid", "open"]


def test_plain_callbacks_are_refused() -> None:
    job = a_job(1)
    plain = Job("plain", schedule=daily("02:30"), target=job.target)

    @plain.callback
    def put(deposit: dict[str, Any], call: Call) -> None:
        del deposit, call

    with pytest.raises(TypeError, match="coroutine"):
        SimulatedCloud([plain])
