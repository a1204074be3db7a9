"""The moments at which stories are stopped: each function tells one up to there."""

from datetime import timedelta

from rollcall import Outcome
from rollcall.adapters.ledger import runs
from rollcall.core.run import RunState, run_id
from rollcall.core.sizing import LATEST_START
from rollcall.engine.fan_out.repair import QUIET
from rollcall.engine.runs.cancellation import cancel
from tests.releases.clouds import LATENCY, RecordedCloud
from tests.releases.declared import MINUTE, PARENT, PAY, REFUND, RUN, SECOND
from tests.releases.words import (
    announced,
    chunk,
    is_sealed,
    item,
    items,
    manifest,
    on_queue,
    record_of,
    redrive,
    settled,
    start,
    state_of,
    until,
)
from tests.simulation.models.gate import Sent
from tests.simulation.models.virtual_time import START
from tests.simulation.plays.target import Outage

#: Longer than a worker's timeout and the visibility of its messages.
STANDS_STILL = 10 * MINUTE


# --- fan-out ---


def enumerating(cloud: RecordedCloud) -> None:
    """Fan-out has written some of the manifest's chunks."""
    start(cloud, month="2026-10", note="ü")
    until(cloud, lambda: manifest(cloud) >= 1 and state_of(cloud) is RunState.ENUMERATING)


def dispatching(cloud: RecordedCloud) -> None:
    """Fan-out has sent some of the messages."""
    start(cloud)
    until(cloud, lambda: state_of(cloud) is RunState.DISPATCHING and on_queue(cloud) > 0)


def taken_over(cloud: RecordedCloud) -> None:
    """Another fan-out sends everything again, marked, for the first has died."""
    start(cloud)
    until(cloud, lambda: state_of(cloud) is RunState.DISPATCHING and on_queue(cloud) > 0)
    cloud.kill("fan_out", cloud.jobs[0])
    cloud.kill("worker", cloud.jobs[0])
    queue = cloud.services.sqs.queue(cloud.queues[PAY][0].url)
    until(cloud, lambda: record_of(cloud).fence > 1, SECOND / 10)
    until(cloud, lambda: any(each.attributes for each in queue.messages.all()))


def window(cloud: RecordedCloud) -> None:
    """The window is full, and some of its entries are settled."""
    start(cloud)
    until(cloud, lambda: is_sealed(cloud) and record_of(cloud).checkpoint > 0 and settled(cloud) >= 2)


def queued(cloud: RecordedCloud) -> None:
    """One run is under way, the next waits, and a third was skipped."""
    for nonce in (None, "b", "c"):
        start(cloud, nonce=nonce)
        cloud.pass_time(SECOND)
    until(cloud, lambda: state_of(cloud, f"{RUN}-c") is not None)


# --- the queue ---


def running(cloud: RecordedCloud) -> None:
    """Some entries are settled, some wait for another attempt, and some are in a call that is not their first."""
    start(cloud)
    until(cloud, lambda: is_sealed(cloud) and bool(chunk(cloud).begun) and bool(chunk(cloud).attempts))


def paused(cloud: RecordedCloud) -> None:
    """The job is paused in the middle, and what workers receive is held."""
    cloud.shops["shop"].latency = SECOND
    start(cloud)
    until(cloud, lambda: is_sealed(cloud) and settled(cloud) >= 2)
    runs.pause(cloud.ledger, PAY, cloud.clock.now())
    until(cloud, lambda: any(chunk(cloud, number).held for number in range(3)))


def resume(cloud: RecordedCloud) -> None:
    runs.resume(cloud.ledger, PAY)


def rated(cloud: RecordedCloud) -> None:
    """Entries are held for the rate of their target."""
    start(cloud)
    until(
        cloud,
        lambda: is_sealed(cloud) and settled(cloud) >= 2 and "held_until" in item(cloud, "target#shop"),
        SECOND / 10,
    )


def breaker(cloud: RecordedCloud) -> None:
    """The circuit breaker is open, one trial call has failed, and the next is under way."""
    shop = cloud.shops["shop"]
    shop.outages.append(Outage(START, START + 2 * MINUTE))
    start(cloud)
    until(cloud, lambda: item(cloud, "target#shop").get("failed_tries", 0) > 0)
    shop.latency = 2 * SECOND
    until(cloud, lambda: "trier" in item(cloud, "target#shop"))


def failing(cloud: RecordedCloud) -> None:
    """Calls in a row have failed, too few for the circuit breaker."""
    start(cloud)
    until(cloud, lambda: "failures" in item(cloud, "target#shop"))


def cancelling(cloud: RecordedCloud) -> None:
    """A run is being cancelled while workers have entries in hand."""
    cloud.shops["shop"].latency = SECOND
    start(cloud)
    until(cloud, lambda: is_sealed(cloud) and settled(cloud) >= 2)
    cancel(cloud.ledger, RUN, cloud.clock)
    until(cloud, lambda: state_of(cloud) is RunState.CANCELLING)


def repairing(cloud: RecordedCloud) -> None:
    """Messages were lost, and are being sent again."""
    start(cloud)
    until(cloud, lambda: state_of(cloud) is RunState.RUNNING)
    queue = cloud.services.sqs.queue(cloud.queues[PAY][0].url)
    cloud.kill("worker", cloud.jobs[0])
    for message in queue.messages.all():
        queue.messages.remove(message)
    cloud.pass_time(QUIET)
    before = len(queue.history)
    until(cloud, lambda: "repairer" in item(cloud, f"run#{RUN}") and len(queue.history) > before)


def dead_letters(cloud: RecordedCloud) -> None:
    """A message that workers die of is a dead letter, and another dead letter belongs to no entry."""
    queue, dead = cloud.queues[PAY]
    cloud.services.sqs.queue(queue.url).most_receives = 2
    start(cloud)
    until(cloud, lambda: is_sealed(cloud) and on_queue(cloud) > 0)
    cloud.services.sqs.send_message(QueueUrl=dead.url, MessageBody="no message of ours ü", MessageGroupId="g")
    until(cloud, lambda: any(key.startswith("dead_letter/") for _, key in cloud.services.s3.objects))
    letters = cloud.services.sqs.queue(dead.url).messages
    until(cloud, lambda: any('"D03"' in each.body for each in letters.all()), SECOND / 50)


# --- redrives ---


def redriven(cloud: RecordedCloud) -> None:
    """What did not succeed is settled again, some of it already."""
    start(cloud)
    until(cloud, lambda: announced(cloud))
    cloud.shops["shop"].latency = timedelta(milliseconds=100)
    redrive(cloud)
    until(cloud, lambda: record_of(cloud).generation == 2 and on_queue(cloud) > 0 and settled(cloud) >= 1)


def redriven_with_new_keys(cloud: RecordedCloud) -> None:
    """What was refused for sure is settled again under new keys."""
    start(cloud)
    until(cloud, lambda: announced(cloud))
    redrive(cloud, outcomes=frozenset({Outcome.REJECTED, Outcome.FAILED}), new_key=True)
    until(cloud, lambda: record_of(cloud).generation == 2 and on_queue(cloud) > 0)


# --- claims ---


def claims(cloud: RecordedCloud) -> None:
    """Of a target without keys: some are claimed, some are to be asked about, some have ended."""
    start(cloud)
    until(cloud, lambda: is_sealed(cloud) and bool(chunk(cloud).asking) and entries_with(cloud, "g1_asked", "owner"))


def entries_with(cloud: RecordedCloud, *fields: str) -> bool:
    """Whether for each of the fields some entry has it."""
    return all(any(field in each for each in items(cloud, "entry#")) for field in fields)


def late(cloud: RecordedCloud) -> None:
    """A worker that stood still for longer than its lease goes on: its answer comes after another's outcome."""
    stand_still(cloud)
    until(cloud, lambda: any("late_answer" in each for each in items(cloud, "entry#")), SECOND / 10)


def superseded(cloud: RecordedCloud) -> None:
    """The same without claims: the entry keeps what its chunk does not."""
    stand_still(cloud)
    until(cloud, lambda: any("g1_rejected_superseded" in each for each in items(cloud, "entry#")), SECOND / 10)


def stand_still(cloud: RecordedCloud) -> None:
    """The worker that makes the first call stands still for a long time before its next request."""
    start(cloud)
    until(cloud, lambda: is_sealed(cloud) and len(cloud.shops["shop"].calls) >= 1)
    (environment,) = cloud.function("worker", cloud.jobs[0]).busy.values()
    environment.zombie = True
    waits = iter([STANDS_STILL.total_seconds()])

    def latency(sent: Sent) -> tuple[float, float]:
        return (next(waits, LATENCY[0]) if sent.origin == environment.name else LATENCY[0]), LATENCY[1]

    cloud.services.gate.latency = latency


# --- batches and pipelines ---


def batches(cloud: RecordedCloud) -> None:
    """Some batches are settled, one is in a call, and one waits for another attempt."""
    start(cloud)
    until(cloud, lambda: is_sealed(cloud) and settled(cloud) >= 5)
    until(cloud, lambda: len(items(cloud, "slice#")) >= 3)


def batches_again(cloud: RecordedCloud) -> None:
    """An execution has failed, and another goes over the batches that are left."""
    start(cloud)
    until(cloud, lambda: is_sealed(cloud) and settled(cloud) >= 5)
    (execution,) = cloud.services.stepfunctions.executions
    cloud.services.stepfunctions.stop_execution(executionArn=execution)
    cloud.kill("batch", cloud.jobs[0])
    until(cloud, lambda: len(cloud.services.stepfunctions.executions) == 2, SECOND / 10)


def pipeline(cloud: RecordedCloud) -> None:
    """A step waits for the end of its run, which is under way, for the second time: what it was once told is kept."""
    yesterday = START - timedelta(days=1)
    before = start(cloud, due=yesterday, nonce="before")
    until(cloud, lambda: announced(cloud, before))
    cloud.shops["shop"].latency = SECOND
    start(cloud, month="2026-10")
    until(cloud, lambda: state_of(cloud, RUN) is RunState.RUNNING and settled(cloud, RUN) >= 1)


def pipeline_skips(cloud: RecordedCloud) -> None:
    """The first task has found nothing to do, and the others are still to be left out."""
    start(cloud)
    until(cloud, lambda: "skip_reason" in item(cloud, f"run#{PARENT}"))


def pipeline_fails(cloud: RecordedCloud) -> None:
    """The run of a step has failed, and the pipeline's run is redriven."""
    start(cloud)
    until(cloud, lambda: announced(cloud, PARENT))
    redrive(cloud, PARENT)
    until(cloud, lambda: record_of(cloud, RUN).generation == 2 and item(cloud, f"waiting#{RUN}")["generation"] == 2)
    until(cloud, lambda: record_of(cloud, RUN).nonce is not None)


# --- ends ---

#: The jobs of a story, in their order.
REFUSED, EARLY, WAITING, EMPTY = range(4)


def unannounced(cloud: RecordedCloud) -> None:
    """A run is complete, and its announcer has only claimed the announcement."""
    start(cloud)
    until(cloud, lambda: "announcer" in item(cloud, f"run#{RUN}"))


def ends(cloud: RecordedCloud) -> None:
    """One run was refused, one cancelled before its seal, one while it waited, and one has no entries."""
    start(cloud, REFUSED)
    start(cloud, EARLY)
    until(cloud, lambda: state_of(cloud, run_id("cancel-early", START)) is RunState.ENUMERATING)
    cancel(cloud.ledger, run_id("cancel-early", START), cloud.clock)
    start(cloud, WAITING)
    until(cloud, lambda: state_of(cloud, run_id(REFUND, START)) is RunState.RUNNING)
    start(cloud, WAITING, nonce="waits")
    waiting = run_id(REFUND, START, "waits")
    until(cloud, lambda: state_of(cloud, waiting) is RunState.QUEUED)
    cancel(cloud.ledger, waiting, cloud.clock)
    start(cloud, EMPTY)
    until(cloud, lambda: state_of(cloud, run_id("count-nothing", START)) is RunState.COMPLETE)


def missed(cloud: RecordedCloud) -> None:
    """The schedule is watched, and one of its occurrences never came."""
    cloud.scheduled = True
    cloud.pass_time(timedelta(days=1) + LATEST_START - MINUTE)
    until(cloud, lambda: state_of(cloud, run_id(PAY, START + timedelta(days=1))) is RunState.MISSED, SECOND / 50)


def another_day(cloud: RecordedCloud) -> None:
    cloud.scheduled = True
    cloud.pass_time(timedelta(days=1) + 2 * MINUTE)
