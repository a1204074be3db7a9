"""Queue, function and mapping settings that follow from a job; used by the stacks and the local cloud alike."""

from dataclasses import dataclass
from datetime import timedelta

from rollcall.core.batches import Batches
from rollcall.core.errors import DeclarationError
from rollcall.core.job import Job
from rollcall.core.rate import Rate
from rollcall.core.target import ANSWER_BYTES

#: The most messages in a FIFO batch
#: (https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html).
BATCH_SIZE = 10
#: An event source mapping's MaximumConcurrency goes from 2 to 1,000 (same page).
LEAST_MAXIMUM_CONCURRENCY = 2
MOST_MAXIMUM_CONCURRENCY = 1_000
#: Ends of runs in one invocation of the completion function.
STREAM_BATCH_SIZE = 10
#: The maximum that a queue allows; receive counts never decide about an entry.
MAX_RECEIVE_COUNT = 1_000
#: A function's longest timeout (https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html).
LONGEST_TIMEOUT = timedelta(minutes=15)
FAN_OUT_TIMEOUT = LONGEST_TIMEOUT
#: What becomes of a start that cannot be delivered: the scheduler gives it up, and Lambda what it took from the
#: scheduler and could not run.
SCHEDULER_GIVES_UP_AFTER = timedelta(minutes=30)
LAMBDA_GIVES_UP_AFTER = timedelta(hours=1)
#: From its scheduled time on, nothing brings an occurrence any more: its last invocation has ended, too, which starts
#: the ticks of a minute one after another.
LATEST_START = SCHEDULER_GIVES_UP_AFTER + LAMBDA_GIVES_UP_AFTER + FAN_OUT_TIMEOUT + timedelta(minutes=5)
#: The functions that call nobody: they settle, announce and top up.
DEAD_LETTER_TIMEOUT = timedelta(minutes=1)
COMPLETION_TIMEOUT = timedelta(minutes=1)
WATCHDOG_TIMEOUT = timedelta(seconds=55)
#: Six times the timeout, as for the workers' queue.
DEAD_LETTER_VISIBILITY = 6 * DEAD_LETTER_TIMEOUT
#: What settling, retries of AWS requests and the answer may take after the last call.
SETTLE_MARGIN = timedelta(seconds=15)
#: How long an invocation may wait for the slots of a rated target. What does not fit is held.
PATIENCE = timedelta(seconds=60)
#: Bytes of the bodies of all answers that a worker waits for. A compressed one is held three times at once (as it came,
#: unpacked, and for the callback), which makes 60 MiB. A worker has 256 MB, of which it takes 70 itself; about half is
#: left for what the callbacks make of their answers.
ANSWERS_BYTES = 20 * 1024 * 1024
#: Unsettled entries on a job's queue: an hour's worth of a rated target, within these. FIFO queues look for free groups
#: among the first 120,000 messages
#: (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/avoid-backlog-with-the-same-message-group-id.html).
LEAST_WINDOW = 1_000
MOST_WINDOW = 50_000
#: How long a FIFO queue drops a second message of the same content, also after the first one was deleted
#: (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html).
DEDUPLICATION_WINDOW = timedelta(minutes=5)
#: Source queue and dead-letter queue; the latter must keep a message longer.
QUEUE_RETENTION = timedelta(days=14)
DEAD_LETTER_RETENTION = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class WorkerSizing:
    """How a job's queue, or its state machine, feeds its workers."""

    #: Calls at once within an invocation.
    width: int
    #: Invocations at once; reserved concurrency is the same.
    maximum_concurrency: int
    batch_size: int
    timeout: timedelta
    #: Six times the timeout, as AWS advises
    #: (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html).
    visibility: timedelta
    #: The most bytes of an answer's body.
    answer_bytes: int


def worker_sizing(job: Job) -> WorkerSizing:
    """As many calls at once in an invocation as fit (waiting is what costs), as few invocations as give the rest.

    Where the target takes no keys, an invocation makes one call at a time. Where it is rated, a batch is no larger
    than the slots that come while it waits; never larger than what can be called within a function's longest timeout.
    In bounded batches, an invocation is a batch. Raises DeclarationError where it could not be called in time, and
    where the declared answers do not fit into a worker's memory.
    """
    if job.delivery is not None:
        return _batch_sizing(job, job.delivery)
    target = job.target
    together = BATCH_SIZE if target.keys is not None else 1
    maximum = max(LEAST_MAXIMUM_CONCURRENCY, min(job.concurrency // together, MOST_MAXIMUM_CONCURRENCY))
    width = min(together, job.concurrency // maximum)
    batch_size = BATCH_SIZE if target.rate is None else _paced_batch(target.rate, maximum)
    waiting = PATIENCE if target.rate is not None else timedelta(0)
    most_rounds = max(1, (LONGEST_TIMEOUT - waiting - SETTLE_MARGIN) // target.timeout)
    batch_size = min(batch_size, most_rounds * width)
    rounds = -(-batch_size // width)
    needed = -(-(rounds * target.timeout + waiting + SETTLE_MARGIN) // timedelta(seconds=1))
    timeout = min(timedelta(seconds=needed), LONGEST_TIMEOUT)
    return WorkerSizing(
        width=width,
        maximum_concurrency=maximum,
        batch_size=batch_size,
        timeout=timeout,
        visibility=6 * timeout,
        answer_bytes=_answer_bytes(job, width),
    )


def _batch_sizing(job: Job, batches: Batches) -> WorkerSizing:
    target = job.target
    width = max(1, min(batches.size, job.concurrency // batches.at_once)) if target.keys is not None else 1
    waiting = PATIENCE if target.rate is not None else timedelta(0)
    rounds = -(-batches.size // width)
    needed = rounds * target.timeout + waiting + SETTLE_MARGIN
    if needed > LONGEST_TIMEOUT:
        raise DeclarationError(
            f"job {job.name}: a batch of {batches.size} may take {needed}, {width} calls of up to {target.timeout} at "
            f"once, and a function {LONGEST_TIMEOUT} at most; take smaller batches or more concurrency"
        )
    timeout = timedelta(seconds=-(-needed // timedelta(seconds=1)))
    return WorkerSizing(width, batches.at_once, batches.size, timeout, 6 * timeout, _answer_bytes(job, width))


def _answer_bytes(job: Job, width: int) -> int:
    """As many as declared, by default as many as fit. Raises DeclarationError where those declared do not fit."""
    declared, fitting = job.target.answer_bytes, ANSWERS_BYTES // width
    if declared is not None and declared > fitting:
        raise DeclarationError(
            f"job {job.name}: answers of its target {job.target.name} have up to {declared:,} bytes (answer_bytes), "
            f"and {width} calls at once leave {fitting:,} for each in a worker's memory (ANSWERS_BYTES in "
            f"rollcall.core.sizing); lower answer_bytes or the job's concurrency"
        )
    return min(ANSWER_BYTES, fitting) if declared is None else declared


def _paced_batch(rate: Rate, maximum_concurrency: int) -> int:
    return max(1, min(BATCH_SIZE, rate.calls_within(PATIENCE) // maximum_concurrency))


def window(job: Job) -> int:
    """How many unsettled entries the job's queue may hold over all its runs."""
    if job.window is not None:
        return job.window
    if job.target.rate is None:
        return MOST_WINDOW
    return max(LEAST_WINDOW, min(job.target.rate.calls_within(timedelta(hours=1)), MOST_WINDOW))
