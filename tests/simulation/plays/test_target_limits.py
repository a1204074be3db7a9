"""A target's limits over jobs, workers and hours: the rate kept and used, outages held, cancel at once."""

from collections import Counter
from datetime import timedelta

import pytest

from rollcall import Breaker, Keys, Rate, Retry
from rollcall.adapters.ledger import runs
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunState
from rollcall.core.sizing import window, worker_sizing
from rollcall.engine.runs.cancellation import cancel
from rollcall.engine.runs.progress import progress, unsettled
from tests.simulation.models.gate import Answer, Sent, Serve
from tests.simulation.models.virtual_time import START
from tests.simulation.plays.cloud import SimulatedCloud
from tests.simulation.plays.target import Outage
from tests.simulation.plays.test_cloud import a_job, complete

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def test_three_jobs_and_eight_workers_keep_a_rate_and_use_it() -> None:
    """20 a second with a burst of 20; slots taken ahead and forgotten over holds would take eleven hours."""
    shared = {"concurrency": 20, "target": {"rate": Rate.per_second(20, burst=20)}}
    jobs = [a_job(1_000, name=name, **shared) for name in ("pay-deposits", "pay-interest")]
    jobs.append(a_job(1_000, name="pay-refunds", **shared | {"concurrency": 40}))
    assert sum(worker_sizing(job).maximum_concurrency for job in jobs) == 8
    with SimulatedCloud(jobs) as cloud:
        target = cloud.target(jobs[0])
        runs = [cloud.fire(job) for job in jobs]
        cloud.run_until_announced(*runs)
        for run in runs:
            complete(cloud, run, 1_000)
        assert target.most_within(SECOND) <= 20 + 20
        busy = target.calls[-1].at - target.calls[0].at
        assert (len(target.calls) - 20) / busy.total_seconds() >= 0.95 * 20
        assert busy < 3 * MINUTE


def test_many_more_workers_than_the_rate_feeds_settle_in_minutes() -> None:
    """100 entries at once wait for the 60 slots that come while they wait: the others are held, and none livelocks."""
    jobs = [a_job(300, name=f"pay-{name}", target={"rate": Rate.per_second(1)}) for name in ("deposits", "interest")]
    with SimulatedCloud(jobs) as cloud:
        target = cloud.target(jobs[0])
        runs = [cloud.fire(job) for job in jobs]
        cloud.run_until_announced(*runs)
        for run in runs:
            complete(cloud, run, 300)
        busy = target.calls[-1].at - target.calls[0].at
        assert len(target.calls) / busy.total_seconds() >= 0.95
        assert target.most_within(SECOND) <= 1 + 1


def test_twelve_hours_at_a_thousand_an_hour() -> None:
    job = a_job(12_000, concurrency=20, deadline=15 * HOUR, target={"rate": Rate.per_hour(1_000)})
    assert window(job) == 1_000
    backlogs: list[int] = []
    with SimulatedCloud([job]) as cloud:
        target = cloud.target(job)
        run = cloud.fire(job)
        for _ in range(15):
            cloud.pass_time(HOUR)
            backlogs.append(cloud.on_queue(job))
            if cloud.run(run).state.terminal:
                break
        cloud.run_until_announced(run)
        complete(cloud, run, 12_000)
        assert max(backlogs) <= 1_000
        assert cloud.on_queue(job, dead_letters=True) == 0
        assert cloud.function("dead_letter").failures == []
        assert set(target.times().values()) == {1}
        assert target.most_within(HOUR) <= 1_000 + 1
        assert target.calls[-1].at - START < 12 * HOUR / 0.95


def test_cancel_stops_a_slow_run_at_once() -> None:
    job = a_job(50_000, concurrency=20, deadline=60 * HOUR, target={"rate": Rate.per_hour(1_000)})
    with SimulatedCloud([job]) as cloud:
        target = cloud.target(job)
        run = cloud.fire(job)
        cloud.pass_time(5 * HOUR)
        called, now = len(target.calls), cloud.clock.now()
        cancel(cloud.ledger, run, cloud.clock)
        cloud.run_until_announced(run, within=20 * MINUTE)
        assert target.between(now + 5 * SECOND, cloud.clock.now()) == 0
        outcomes = cloud.outcomes(run)
        assert cloud.run(run).state is RunState.CANCELLED
        assert outcomes[Outcome.SUCCEEDED] <= called + 1
        assert sum(outcomes.values()) == 50_000
        assert unsettled(cloud.ledger, cloud.run(run)) == 0


@pytest.mark.parametrize("burst", [503, 429])
def test_a_target_that_is_down_for_thirty_seconds(burst: int) -> None:
    """In the middle of 2,000 entries; waiting uses up no attempt, so two retries are enough for each of them."""
    breaker = Breaker(failures=10, pause=timedelta(seconds=10))
    job = a_job(2_000, retry=Retry(retries=2), target={"breaker": breaker})
    down, up = START + SECOND, START + 31 * SECOND
    with SimulatedCloud([job]) as cloud:
        target = cloud.target(job)
        target.outages = [Outage(down, up, burst)]
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        complete(cloud, run, 2_000)
        tries = 2  # after 10 seconds, and 20 seconds later
        assert target.between(down, up) <= breaker.failures + job.concurrency + tries
        assert max(target.times().values()) <= 3
        assert cloud.clock.now() < up + 2 * MINUTE


def test_a_bank_that_is_down_for_an_hour_burns_no_entry() -> None:
    job = a_job(300, retry=Retry(retries=3))
    down, up = START + SECOND / 5, START + HOUR
    with SimulatedCloud([job]) as cloud:
        target = cloud.target(job)
        target.outages = [Outage(down, up, 500)]
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        complete(cloud, run, 300)
        assert target.between(down, up) < 10 + 50 + 15
        assert cloud.clock.now() < up + 30 * MINUTE


def test_what_is_held_shows_with_its_reason_and_until_when() -> None:
    job = a_job(300)
    with SimulatedCloud([job]) as cloud:
        cloud.target(job).outages = [Outage(START, START + 5 * MINUTE)]
        run = cloud.fire(job)
        cloud.pass_time(30 * SECOND)
        (held,) = progress(cloud.ledger, cloud.run(run), job.target.name).held
        assert held.entries > 200
        assert held.reason == "accounting is left alone after failures in a row: HTTP 503"
        assert held.until is not None
        assert START + 60 * SECOND <= held.until <= START + 62 * SECOND
        cloud.run_until_announced(run)
        assert progress(cloud.ledger, cloud.run(run), job.target.name).held == ()


def test_revoked_credentials_stop_everything_at_once_and_reject_nobody() -> None:
    job = a_job(1_000)
    with SimulatedCloud([job]) as cloud:
        target = cloud.target(job)
        target.outages = [Outage(START, START + HOUR, 401)]
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        complete(cloud, run, 1_000)
        assert target.between(START, START + HOUR) <= 50 + 60  # what was in flight, and a try a minute


def test_one_entry_that_is_always_forbidden_stops_no_other() -> None:
    job = a_job(1_000)
    with SimulatedCloud([job]) as cloud:
        target = cloud.target(job)
        target.script = lambda key, _: 403 if key == "D000500" else None
        run = cloud.fire(job)
        cloud.run_until_announced(run, within=2 * MINUTE)
        assert cloud.outcomes(run) == {Outcome.SUCCEEDED: 999, Outcome.REJECTED: 1}
        others = Counter(count for key, count in target.times().items() if key != "D000500")
        assert others == {1: 999}


@pytest.mark.parametrize("keys", [Keys(), None], ids=["with keys", "with claims"])
def test_credentials_that_are_revoked_in_the_middle_reject_nobody(keys: Keys | None) -> None:
    """Calls that were accepted before answer later than the first refusals: they say nothing about those."""
    job = a_job(600, target={"keys": keys})
    with SimulatedCloud([job]) as cloud:
        target = cloud.target(job)
        target.latency = lambda request: timedelta(milliseconds=20 + sum(request.path.encode()) % 7 * 30)
        target.outages = [Outage(START + SECOND / 2, START + 30 * MINUTE, 401)]
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        complete(cloud, run, 600)


def test_many_entries_that_are_forbidden_hold_the_others_up_a_little() -> None:
    """One in ten, in batches of one: no row of them is long enough to speak against the credentials."""
    job = a_job(300, concurrency=100, target={"rate": Rate.per_minute(60)})
    with SimulatedCloud([job]) as cloud:
        cloud.target(job).script = lambda key, _: 403 if key.endswith("7") else None
        run = cloud.fire(job)
        cloud.run_until_announced(run, within=20 * MINUTE)
        assert cloud.outcomes(run) == {Outcome.SUCCEEDED: 270, Outcome.REJECTED: 30}


def test_a_small_burst_is_kept_by_workers_that_come_late() -> None:
    job = a_job(200, target={"rate": Rate.per_second(20, burst=1)})
    with SimulatedCloud([job]) as cloud:
        target, slow = cloud.target(job), 0

        def delay(sent: Sent, serve: Serve) -> Answer:
            nonlocal slow
            if "worker" in sent.origin and sent.operation == "UpdateItem":
                slow += 1
                if slow % 40 == 0:
                    cloud.clock.sleep(SECOND * 0.9)
            return serve()

        cloud.services.gate.interceptor = delay
        cloud.run_until_announced(cloud.fire(job))
        assert target.most_within(SECOND) <= 20 + 1 + 2  # and what is 50 ms late


def test_a_pause_over_a_night_loses_nothing() -> None:
    job = a_job(30, deadline=60 * HOUR)
    with SimulatedCloud([job]) as cloud:
        runs.pause(cloud.ledger, job.name, cloud.clock.now())
        run = cloud.fire(job)
        cloud.pass_time(14 * HOUR)
        assert cloud.on_queue(job, dead_letters=True) == 0
        runs.resume(cloud.ledger, job.name)
        cloud.run_until_announced(run, within=HOUR)
        complete(cloud, run, 30)
