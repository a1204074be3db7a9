"""Repair: resend unsettled entries whose messages the queue has lost.

A queue loses messages by its retention, a purge, an operator's deletion, and by moving those of held entries to its
dead-letter queue. The ledger cannot distinguish a lost message from a waiting one. It need not: a second message of an
entry carries a mark and is harmless, see docs/decisions/repair.md.
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

#: Time after the last send before a repair. By then, the queue no longer drops resent messages as duplicates, and its
#: message counts are accurate, which takes a minute (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html).
QUIET = DEDUPLICATION_WINDOW + timedelta(minutes=1)


def due(run: RunRecord) -> datetime | None:
    """Return the earliest time to resend unsettled entries of `run`; None if repair may not."""
    if run.lease_until is not None or run.state not in OPEN | {RunState.CANCELLING}:
        return None
    last = run.sent_at or run.started_at
    if run.cancelling_since is not None:
        # A dispatcher may not notice the cancellation until its invocation ends.
        last = max(last, run.cancelling_since + LONGEST_TIMEOUT)
    return last + QUIET


def is_due(run: RunRecord, now: datetime) -> bool:
    """Return whether repair may resend unsettled entries of `run` now."""
    since = due(run)
    return since is not None and now >= since


def ask_for_repair(
    ledger: Ledger, queues: Queues, functions: Functions, open_runs: Collection[RunRecord], now: datetime
) -> None:
    """Request the repair of a job's runs if its queue has fewer messages than waiting entries."""
    quiet = [run for run in open_runs if is_due(run, now)]
    if not quiet:
        return
    job = quiet[0].job
    # Count the queue first: a worker deletes a message only after it has settled the entry.
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
    """Lease a run for repair until the invocation has SAFETY left; yield it, or None.

    Nothing else repairs or dispatches the run meanwhile. Yields None if the run is not due, or another invocation
    holds it. Raises RollcallError if the run does not exist.
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
    """Resend the unsettled entries of a run, and return the run; None if it is not due.

    If time runs out, the next round of the watchdog asks for the rest. Raises RollcallError if the run does not
    exist, and DispatchFailed if the queue does not accept the messages.
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
    """Return the number of entries sent, and whether no others were left."""
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
