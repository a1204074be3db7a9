"""Cancelling: no new calls; what was not called is settled as cancelled, and then the run is."""

from datetime import timedelta

from rollcall.adapters import counting, runs
from rollcall.adapters.ledger import Ledger
from rollcall.core.actions import Action, log
from rollcall.core.clock import Clock
from rollcall.core.errors import RollcallError
from rollcall.core.run import OPEN, RunRecord, RunState
from rollcall.core.sizing import LONGEST_TIMEOUT
from rollcall.core.tree import Node
from rollcall.core.values import batched
from rollcall.engine.progress import NODES_AT_ONCE

#: What one round of the watchdog spends on one run; the next round goes on.
LONGEST_ROUND = timedelta(seconds=20)


def cancel(ledger: Ledger, run_id: str, clock: Clock) -> RunRecord:
    """Stop a run: workers learn of it within seconds. Raises RollcallError for one that cannot be cancelled."""
    run = ledger.run(run_id)
    if run is None:
        raise RollcallError(f"there is no run {run_id}")
    if run.state is RunState.CANCELLING or run.state.terminal:
        return run
    if run.state not in OPEN and run.state is not RunState.ENUMERATING:
        raise RollcallError(f"{run_id} is {run.state} and cannot be cancelled")
    cancelled = runs.cancel(ledger, run, clock.now())
    log(Action.RUN_CANCELLING, run=run.id, job=run.job, state=cancelled.state)
    return cancelled


def cancel_unsent(ledger: Ledger, run: RunRecord, clock: Clock) -> None:
    """Settle what was never sent, and what is held; whoever receives the rest settles that."""
    now = clock.now()
    until = now + LONGEST_ROUND
    # Between checkpoint and window's end may be what a worker received first and calls: it ends with its invocation.
    in_doubt = run.cancelling_since is None or now < run.cancelling_since + LONGEST_TIMEOUT
    sent = max(run.checkpoint, run.window_end) if in_doubt else run.checkpoint
    for some in batched((Node(0, number) for number in range(run.tree.chunks)), NODES_AT_ONCE):
        for chunk, record in ledger.nodes(run, some).items():
            if clock.now() > until:
                return
            first = chunk.number * run.chunk_size
            unsent = {position for position in range(run.tree.expected(chunk)) if first + position >= sent}
            if waiting := unsent - record.settled - record.begun:
                counting.cancel(ledger, run, chunk, sorted(waiting), clock.now())
            if held := record.held - record.settled - unsent:
                counting.cancel(ledger, run, chunk, sorted(held), clock.now(), held=True)
