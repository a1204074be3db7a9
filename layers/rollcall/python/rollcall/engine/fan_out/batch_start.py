"""Bounded batches: a state machine, instead of a queue, delivers a sealed manifest."""

import logging
from collections.abc import Collection
from datetime import datetime

from rollcall.adapters.executions import Executions
from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger import runs
from rollcall.adapters.ledger.records import Ledger
from rollcall.core.actions import Action, log
from rollcall.core.batches import Batches
from rollcall.core.clock import Clock
from rollcall.core.run import RunRecord
from rollcall.engine.fan_out.repair import held_for_repair, is_due
from rollcall.engine.fan_out.run_lease import Invocation
from rollcall.engine.runs.progress import tally, unfinished, waiting


def start_batches(batches: Batches, ledger: Ledger, executions: Executions, run: RunRecord, clock: Clock) -> RunRecord:
    """Start the execution of the run's generation, unless an earlier fan-out has started it.

    Raises LostLease if another invocation has taken the run over.
    """
    # From now on, a cancellation must not treat entries that a batch may be calling as unsent.
    run = runs.open_window(ledger, run, run.total)
    executions.start(run, range(batches.slices(run.total)))
    log(Action.RUN_IN_BATCHES, run=run.id, job=run.job, total=run.total, batches=batches.slices(run.total))
    return runs.all_dispatched(ledger, run, clock.now())


def ask_for_batches(ledger: Ledger, functions: Functions, open_runs: Collection[RunRecord], now: datetime) -> None:
    """Ask fan-out to check whether the executions of unsettled runs have ended."""
    for run in open_runs:
        if is_due(run, now) and tally(run, unfinished(ledger, run)).waiting:
            functions.repair(run.job, run.id)


def repair_batches(
    batches: Batches, ledger: Ledger, executions: Executions, run_id: str, invocation: Invocation, clock: Clock
) -> RunRecord | None:
    """Start an execution for the batches that an ended one left unsettled, and return the run.

    Returns None if there is nothing to repair. Raises RollcallError if the run does not exist.
    """
    with held_for_repair(ledger, run_id, invocation, clock) as run:
        repair = executions.next_repair(run) if run is not None else None
        if run is None or repair is None:
            return None
        slices = _unsettled(batches, ledger, run)
        if not slices:
            return None
        executions.start(run, slices, repair)
    about = {"run": run.id, "job": run.job, "generation": run.generation}
    log(Action.RUN_REPAIRED, logging.WARNING, **about, batches=len(slices), whole=True)
    return run


def _unsettled(batches: Batches, ledger: Ledger, run: RunRecord) -> list[int]:
    """Return the numbers of the batches with unsettled entries."""
    found: set[int] = set()
    for chunk, record in unfinished(ledger, run):
        if chunk.level == 0:
            first = chunk.number * run.chunk_size
            found |= {(first + position) // batches.size for position in waiting(run, chunk, record)}
    return sorted(found)
