"""Repair: unsettled entries whose messages are no longer on the queue are sent again, and marked so.

A queue loses messages by its retention, a purge, an operator's deletion, and by moving those of held entries to its
dead-letter queue. The ledger cannot tell a lost message from one that waits. It need not: a second, marked message of
an entry is harmless, see docs/decisions/repair.md.
"""

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger import runs
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.queue import Queues
from rollcall.core.actions import Action, log
from rollcall.core.clock import Clock
from rollcall.core.errors import RollcallError
from rollcall.core.run import OPEN, RunRecord, RunState
from rollcall.core.sizing import DEDUPLICATION_WINDOW, LONGEST_TIMEOUT
from rollcall.engine.fan_out.dispatch import SAFETY, Sender
from rollcall.engine.fan_out.run_lease import Invocation
from rollcall.engine.runs.progress import tally, unfinished, waiting

#: From the last send on: what is sent again is not dropped as a duplicate, and the queue's numbers are true again,
#: which takes a minute (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html).
QUIET = DEDUPLICATION_WINDOW + timedelta(minutes=1)


def due(run: RunRecord) -> datetime | None:
    """From when on what is unsettled of `run` may be sent again; None where that is not for repair."""
    if run.lease_until is not None or run.state not in OPEN | {RunState.CANCELLING}:
        return None
    last = run.sent_at or run.started_at
    if run.cancelling_since is not None:
        # Who dispatched then may not know of it until its invocation ends.
        last = max(last, run.cancelling_since + LONGEST_TIMEOUT)
    return last + QUIET


def is_due(run: RunRecord, now: datetime) -> bool:
    """Whether what is unsettled of `run` may be sent again."""
    since = due(run)
    return since is not None and now >= since


def ask_for_repair(
    ledger: Ledger, queues: Queues, functions: Functions, open_runs: Collection[RunRecord], now: datetime
) -> None:
    """Have the runs of one job repaired, if its queue has fewer messages than they have entries waiting there."""
    quiet = [run for run in open_runs if is_due(run, now)]
    if not quiet:
        return
    job = quiet[0].job
    # Counted first: what is settled in between is deleted only after that.
    on_queue = queues.messages(job)
    expected = {run.id: tally(run, unfinished(ledger, run)).waiting for run in _sealed(open_runs)}
    if on_queue >= sum(expected.values()):
        return
    for run in quiet:
        if expected[run.id]:
            log(
                Action.RUN_LACKS_MESSAGES,
                logging.WARNING,
                run=run.id,
                job=job,
                unsettled=expected[run.id],
                unsettled_of_job=sum(expected.values()),
                on_queue=on_queue,
            )
            functions.repair(job, run.id)


def _sealed(open_runs: Iterable[RunRecord]) -> list[RunRecord]:
    return [run for run in open_runs if run.state in OPEN | {RunState.CANCELLING}]


@contextmanager
def held_for_repair(ledger: Ledger, run_id: str, invocation: Invocation, clock: Clock) -> Iterator[RunRecord | None]:
    """The run, which nobody else repairs or dispatches until the invocation has SAFETY left; None where that is not to
    be done now. Raises RollcallError where there is no such run.
    """
    run = ledger.run(run_id)
    if run is None:
        raise RollcallError(f"there is no run {run_id}")
    until = invocation.deadline - SAFETY
    held: RunRecord | None = None
    if is_due(run, clock.now()) and clock.now() < until:
        with suppress(runs.LostLease):
            held = runs.begin_repair(ledger, run, invocation.owner, until)
    try:
        yield held
    finally:
        if held is not None:
            runs.end_repair(ledger, held, invocation.owner, until, clock.now())


def repair(ledger: Ledger, sender: Sender, run_id: str, invocation: Invocation, clock: Clock) -> RunRecord | None:
    """Send what is unsettled of a run again; returns the run, or None where that is not to be done now.

    What there is no time for is found by the next round. Raises RollcallError where there is no such run, and
    DispatchFailed where the queue does not take the messages.
    """
    with held_for_repair(ledger, run_id, invocation, clock) as run:
        if run is None:
            return None
        sent, whole = _send_again(ledger, sender, run, invocation.deadline - SAFETY, clock)
    log(
        Action.RUN_REPAIRED,
        logging.WARNING,
        run=run.id,
        job=run.job,
        generation=run.generation,
        sent=sent,
        whole=whole,
    )
    return run


def _send_again(ledger: Ledger, sender: Sender, run: RunRecord, until: datetime, clock: Clock) -> tuple[int, bool]:
    """How many entries were sent, and whether these were all."""
    sent = 0
    with sender:
        for chunk, record in unfinished(ledger, run):
            positions = waiting(run, chunk, record) if chunk.level == 0 else set()
            if not positions:
                continue
            if clock.now() >= until:
                return sent, False
            indexes = {chunk.number * run.chunk_size + position for position in positions}
            sender.send(run, chunk, until, marked=indexes, only=indexes)
            sent += len(indexes)
    return sent, True
