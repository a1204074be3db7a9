"""Strangers at the queues of a run under way: it completes exactly, and nothing is called for what they send."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollcall import Call, Entry, Job, Retry, Run, Target, daily
from rollcall.core.actions import Action
from rollcall.core.errors import InvalidMessage
from rollcall.core.message import SENT_AGAIN, Message
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunState
from rollcall.core.values import digest
from tests.hostile import bodies
from tests.simulation.plays.cloud import SimulatedCloud

ENTRIES = 600
MILLISECOND, MINUTE = timedelta(milliseconds=1), timedelta(minutes=1)


def a_job(name: str = "pay-deposits") -> Job:
    """A job that puts each of its entries to the target, some four hundred a second."""
    job = Job(
        name,
        schedule=daily("02:30"),
        target=Target("accounting", concurrency=100),
        concurrency=20,
        retry=Retry(retries=3),
    )

    @job.source
    def source(run: Run) -> Iterable[Entry]:
        del run
        return (Entry(f"D{number:06}", {"deposit": number}) for number in range(ENTRIES))

    @job.callback
    async def put(deposit: dict[str, Any], call: Call) -> None:
        await call.http.put(f"/deposits/{call.key}", json=deposit)

    return job


@pytest.fixture
def job() -> Job:
    return a_job()


@pytest.fixture
def dropped(caplog: pytest.LogCaptureFixture) -> Callable[[], int]:
    """How many messages were dropped so far."""
    caplog.set_level(logging.WARNING, "rollcall")
    return lambda: sum(record.message == Action.MESSAGE_DROPPED for record in caplog.records)


def under_way(cloud: SimulatedCloud, job: Job) -> str:
    """A run of which a third is done."""
    run = cloud.fire(job)
    cloud.run_until(lambda: len(cloud.target(job).calls) >= ENTRIES / 3, every=10 * MILLISECOND)
    assert cloud.run(run).state is RunState.RUNNING
    return run


def message_of(cloud: SimulatedCloud, run: str, number: int = 0) -> Message:
    """The message of an entry, as the run's fan-out sent it."""
    record = cloud.run(run)
    chunk = number // record.chunk_size
    return Message(run, record.generation, chunk, number, record.total, f"D{number:06}", {"deposit": number})


def group_of(body: str) -> str:
    """The message group that a stranger who knows our ways would choose."""
    with suppress(InvalidMessage):
        return Message.parse(body).group
    return digest(body[:100])


def throw(cloud: SimulatedCloud, job: Job, bodies: Iterable[str], *, dead: bool = False, **more: Any) -> None:
    """Somebody who may send puts bodies on the job's queue, or on that of its dead letters."""
    url = cloud.queues[job.name][dead].url
    for number, body in enumerate(bodies):
        name = f"stranger-{cloud.clock.timestamp()}-{number}"
        cloud.observer.sqs.send_message(
            QueueUrl=url, MessageBody=body, MessageGroupId=group_of(body), MessageDeduplicationId=name, **more
        )


def complete_and_called_once(cloud: SimulatedCloud, job: Job, run: str) -> None:
    """Assert that the run ends as if no stranger had been there."""
    cloud.run_until_announced(run)
    cloud.pass_time(10 * MINUTE)
    assert cloud.outcomes(run) == {Outcome.SUCCEEDED: ENTRIES}
    assert [detail["clean"] for detail in cloud.announcements if detail["run"] == run] == [True]
    assert {*cloud.target(job).times().values()} == {1}
    assert len(cloud.target(job).calls) == ENTRIES
    assert cloud.failures == []
    assert (cloud.on_queue(job), cloud.on_queue(job, dead_letters=True)) == (0, 0)


def test_a_run_completes_exactly_with_everything_hostile_on_its_queue(job: Job, dropped: Callable[[], int]) -> None:
    with SimulatedCloud([job], scatter=200) as cloud:
        run = under_way(cloud, job)
        zoo = bodies(message_of(cloud, run))
        throw(cloud, job, zoo.values())
        complete_and_called_once(cloud, job, run)
        assert dropped() == len(zoo)


def test_a_run_completes_exactly_with_everything_hostile_among_its_dead_letters(
    job: Job, dropped: Callable[[], int]
) -> None:
    with SimulatedCloud([job]) as cloud:
        run = under_way(cloud, job)
        zoo = bodies(message_of(cloud, run))
        throw(cloud, job, zoo.values(), dead=True)
        complete_and_called_once(cloud, job, run)
        assert dropped() == len(zoo)


def test_dead_letters_that_the_manifest_does_not_have_leave_their_entries_to_the_workers(job: Job) -> None:
    with SimulatedCloud([job]) as cloud:
        run = under_way(cloud, job)
        forged = [replace(message_of(cloud, run, number), payload={"deposit": 0}) for number in range(1, ENTRIES)]
        throw(cloud, job, [message.body() for message in forged], dead=True)
        complete_and_called_once(cloud, job, run)


def test_messages_of_a_run_that_has_ended_are_dropped_from_the_next_ones_queue(
    job: Job, dropped: Callable[[], int]
) -> None:
    with SimulatedCloud([job]) as cloud:
        earlier = cloud.fire(job)
        cloud.run_until_announced(earlier)
        cloud.pass_time(MINUTE)
        run = cloud.fire(job)
        cloud.run_until(lambda: len(cloud.target(job).calls) >= ENTRIES * 4 / 3, every=10 * MILLISECOND)
        throw(cloud, job, [message_of(cloud, earlier, number).body() for number in range(100)])
        cloud.run_until_announced(run)
        cloud.pass_time(MINUTE)
        assert dropped() == 100
        assert {*cloud.target(job).times().values()} == {2}
        assert cloud.outcomes(run) == {Outcome.SUCCEEDED: ENTRIES}


def test_messages_of_another_jobs_run_under_way_are_dropped_and_it_completes_by_its_own(
    job: Job, dropped: Callable[[], int]
) -> None:
    other = a_job("pay-interest")
    with SimulatedCloud([job, other]) as cloud:
        run, others = cloud.fire(job), cloud.fire(other)
        cloud.run_until(lambda: len(cloud.target(job).calls) >= ENTRIES / 3, every=10 * MILLISECOND)
        throw(cloud, job, [message_of(cloud, others, number).body() for number in range(100)])
        cloud.run_until_announced(run, others)
        assert dropped() == 100
        assert {*cloud.target(job).times().values()} == {2}
        assert cloud.outcomes(run) == cloud.outcomes(others) == {Outcome.SUCCEEDED: ENTRIES}


@pytest.mark.parametrize(
    "mark",
    [{"DataType": "Binary", "BinaryValue": b"\x00"}, {"DataType": "Number.odd", "StringValue": "-1"}],
    ids=["binary", "number"],
)
def test_a_message_that_is_sent_again_with_a_strange_mark_is_not_called_again(job: Job, mark: dict[str, Any]) -> None:
    with SimulatedCloud([job]) as cloud:
        run = under_way(cloud, job)
        copies = [message_of(cloud, run, number).body() for number in range(0, ENTRIES, 10)]
        throw(cloud, job, copies, MessageAttributes={SENT_AGAIN: mark})
        complete_and_called_once(cloud, job, run)


def test_copies_of_messages_are_called_with_the_key_of_their_entry_and_counted_once(job: Job) -> None:
    """What a first receive costs nothing for: nobody looks whether it was called before."""
    with SimulatedCloud([job]) as cloud:
        run = under_way(cloud, job)
        throw(cloud, job, [message_of(cloud, run, number).body() for number in range(0, ENTRIES, 10)])
        cloud.run_until_announced(run)
        cloud.pass_time(MINUTE)
        assert cloud.outcomes(run) == {Outcome.SUCCEEDED: ENTRIES}
        assert len({call.idempotency_key for call in cloud.target(job).calls}) == ENTRIES
        assert len({detail["id"] for detail in cloud.announcements}) == 1


def test_whoever_can_send_what_dispatch_would_is_believed_and_still_the_count_is_exact(job: Job) -> None:
    """What the queue's policy is for: an entry of his own in the place of one that is not settled yet."""
    with SimulatedCloud([job]) as cloud:
        run = under_way(cloud, job)
        throw(cloud, job, [replace(message_of(cloud, run, ENTRIES - 1), key="his-own").body()])
        cloud.run_until_announced(run)
        assert cloud.outcomes(run) == {Outcome.SUCCEEDED: ENTRIES}
        assert cloud.target(job).times()["his-own"] == 1
