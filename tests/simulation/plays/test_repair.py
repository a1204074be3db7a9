"""Repair where AWS's own rules matter: deduplication, the lock of groups, retention, dead letters."""

from datetime import timedelta

import pytest

from rollcall import Breaker, Job, Rate, Retry
from rollcall.adapters.ledger import runs
from rollcall.adapters.queue import Queues
from rollcall.engine.fan_out import repair
from tests.simulation.plays import handlers
from tests.simulation.plays.cloud import SimulatedCloud
from tests.simulation.plays.test_cloud import HOUR, MINUTE, SECOND, a_job, complete
from tools.local_cloud import resources


class Empty(Queues):
    """Queues that are always said to be empty: every round is a false alarm."""

    def messages(self, job: str) -> int:
        del job
        return 0


def purge(cloud: SimulatedCloud, job: Job) -> int:
    """Delete everything on the job's queue, in flight or not, as PurgeQueue does; returns how many there were."""
    messages = cloud.services.sqs.queue(cloud.queues[job.name][0].url).messages
    found = list(messages)
    for message in found:
        messages.remove(message)
    return len(found)


def slow(entries: int) -> Job:
    return a_job(entries, target={"rate": Rate.per_second(1)})


def test_a_purge_in_the_middle_loses_nothing_and_calls_nobody_twice() -> None:
    job = slow(600)
    with SimulatedCloud([job]) as cloud:
        run = cloud.fire(job)
        cloud.pass_time(2 * MINUTE)
        assert 300 < purge(cloud, job) < 600
        cloud.run_until_announced(run)
        complete(cloud, run, 600)
        assert set(cloud.target(job).effects.values()) == {1}
        assert cloud.target(job).most_within(SECOND) <= 2


def test_what_is_lost_again_and_again_is_sent_again_and_again() -> None:
    job = slow(300)
    with SimulatedCloud([job]) as cloud:
        run = cloud.fire(job)
        for _ in range(3):
            cloud.pass_time(MINUTE)
            cloud.run_until(lambda: cloud.on_queue(job) > 0)
            purge(cloud, job)
        cloud.run_until_announced(run, within=HOUR)
        complete(cloud, run, 300)
        assert set(cloud.target(job).effects.values()) == {1}


def test_a_window_full_of_lost_messages_is_emptied_and_the_run_goes_on() -> None:
    job = slow(2_000)
    job.window = 500
    with SimulatedCloud([job]) as cloud:
        run = cloud.fire(job)
        cloud.run_until(lambda: cloud.on_queue(job) > 0)
        assert purge(cloud, job) == 500
        cloud.run_until_announced(run)
        complete(cloud, run, 2_000)
        assert set(cloud.target(job).effects.values()) == {1}


def test_a_second_message_waits_for_the_first_and_finds_its_entry_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog takes the queue for empty as soon as it may; entries wait for their retries all the while."""
    monkeypatch.setattr(handlers, "Queues", Empty)
    patient = {"breaker": Breaker(failures=1_000_000, pause=MINUTE)}
    job = a_job(50, target=patient, retry=Retry(retries=8, first=MINUTE, factor=2))
    with SimulatedCloud([job]) as cloud:
        target = cloud.target(job)
        target.script = lambda _, number: 503 if number <= 7 else None
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        assert cloud.requests["lambda", "Invoke"] > 3
        cloud.run_until(lambda: cloud.on_queue(job) == 0)
        complete(cloud, run, 50)
        assert set(target.times().values()) == {8}


def test_messages_that_a_paused_job_outlived_are_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "QUEUE_RETENTION", 2 * HOUR)
    job = slow(100)
    with SimulatedCloud([job]) as cloud:
        run = cloud.fire(job)
        cloud.pass_time(20 * SECOND)
        runs.pause(cloud.ledger, job.name, cloud.clock.now())
        cloud.pass_time(5 * HOUR)
        runs.resume(cloud.ledger, job.name)
        cloud.run_until_announced(run)
        complete(cloud, run, 100)
        assert set(cloud.target(job).effects.values()) == {1}


def test_held_entries_whose_messages_became_dead_letters_are_settled_and_the_letters_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resources, "MAX_RECEIVE_COUNT", 2)
    job = a_job(40)
    with SimulatedCloud([job]) as cloud:
        runs.pause(cloud.ledger, job.name, cloud.clock.now())
        run = cloud.fire(job)
        cloud.run_until(lambda: cloud.on_queue(job, dead_letters=True) == 40)
        runs.resume(cloud.ledger, job.name)
        cloud.run_until_announced(run)
        complete(cloud, run, 40)
        assert set(cloud.target(job).effects.values()) == {1}
        cloud.run_until(lambda: cloud.on_queue(job, dead_letters=True) == 0)


def test_a_second_send_within_five_minutes_would_be_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why repair waits: the queue says that it takes the message, and does not."""
    monkeypatch.setattr(repair, "QUIET", timedelta(seconds=1))
    job = slow(100)
    with SimulatedCloud([job]) as cloud:
        cloud.fire(job)
        cloud.run_until(lambda: cloud.on_queue(job) > 0)
        purge(cloud, job)
        cloud.pass_time(4 * MINUTE)
        assert cloud.requests["lambda", "Invoke"] > 1
        assert cloud.on_queue(job) == 0
