"""Cancellation: no new calls start, uncalled entries are settled as cancelled."""

from datetime import timedelta

from rollcall.adapters.ledger import chunk_updates, runs
from rollcall.adapters.ledger.records import Ledger
from rollcall.core.actions import Action, log
from rollcall.core.clock import Clock
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunRecord, RunState
from rollcall.core.sizing import LONGEST_TIMEOUT
from rollcall.core.tree import Node
from rollcall.core.values import batched
from rollcall.engine.runs.progress import NODES_AT_ONCE

#: Time that one watchdog round spends on one run; the next round continues.
LONGEST_ROUND = timedelta(seconds=20)
#: Write conflicts with fan-outs that one request to cancel retries.
MOST_CONFLICTS = 10


def cancel(ledger: Ledger, run_id: str, clock: Clock) -> RunRecord:
    """Stop a run; workers notice within seconds.

    A run that has ended or is being cancelled is returned unchanged. Raises RollcallError if the run does not exist.
    """
    for attempt in range(MOST_CONFLICTS):
        if attempt:
            clock.sleep(timedelta(milliseconds=50 * attempt))
        run = ledger.run(run_id)
        if run is None:
            raise RollcallError(f"there is no run {run_id}")
        if run.state is RunState.CANCELLING or run.state.terminal:
            return run
        try:
            queued = run.state is RunState.QUEUED
            cancelled = (runs.cancel_queued if queued else runs.cancel)(ledger, run, clock.now())
        except (runs.LostLease, runs.Conflict):
            continue  # the run was sealed, taken over or started meanwhile
        log(Action.RUN_CANCELLING, run=run.id, job=run.job, state=cancelled.state)
        cancel_awaited(ledger, cancelled, clock)
        return cancelled
    raise RollcallError(f"{run_id}: it changed under {MOST_CONFLICTS} tries to cancel it; try again")


def cancel_awaited(ledger: Ledger, run: RunRecord, clock: Clock) -> None:
    """Cancel the run that a pipeline's run waits for, if there is one."""
    if run.waits_for is not None and ledger.run(run.waits_for) is not None:
        cancel(ledger, run.waits_for, clock)


def cancel_unsent(ledger: Ledger, run: RunRecord, clock: Clock) -> None:
    """Settle unsent and held entries as cancelled; workers settle the others on receipt."""
    now = clock.now()
    until = now + LONGEST_ROUND
    # A worker may be calling entries between the checkpoint and the window's end for the first time. Such a call ends
    # with the worker's invocation.
    in_doubt = run.cancelling_since is None or now < run.cancelling_since + LONGEST_TIMEOUT
    sent = max(run.checkpoint, run.window_end) if in_doubt else run.checkpoint
    for some in batched((Node(0, number) for number in range(run.tree.chunks)), NODES_AT_ONCE):
        for chunk, record in ledger.nodes(run, some).items():
            if clock.now() > until:
                return
            first = chunk.number * run.chunk_size
            unsent = {position for position in range(run.tree.expected(chunk)) if first + position >= sent}
            if waiting := unsent - record.settled - record.begun:
                chunk_updates.cancel(ledger, run, chunk, sorted(waiting), clock.now())
            if held := record.held - record.settled - unsent:
                chunk_updates.cancel(ledger, run, chunk, sorted(held), clock.now(), held=True)
