"""Redrive: chosen entries of a terminal run are settled again, in a generation with a manifest of just those."""

from collections.abc import Iterator
from dataclasses import replace

from rollcall.adapters.ledger import Ledger
from rollcall.adapters.manifests import Manifests
from rollcall.core.actions import Action, log
from rollcall.core.entry import Entry, ManifestEntry
from rollcall.core.job import Job
from rollcall.core.outcome import EXCEPTIONAL
from rollcall.core.run import Redrive, RunRecord, iso
from rollcall.engine.calling import own_key
from rollcall.engine.failures import Failure, failures


def chosen(ledger: Ledger, manifests: Manifests, run: RunRecord, redrive: Redrive) -> Iterator[Failure]:
    """The entries of a run that `redrive` chooses, by the latest generation that each of them was in."""
    for failure in failures(ledger, manifests, run, redrive.outcomes & set(EXCEPTIONAL) or EXCEPTIONAL):
        if redrive.errors and failure.error not in redrive.errors:
            continue
        if redrive.keys and failure.key not in redrive.keys:
            continue
        if redrive.new_key and not failure.definite:
            log(Action.ENTRY_REJECTED, run=run.id, key=failure.key, reason="a new key might be a second effect")
            continue
        yield failure


def redriven(
    job: Job, ledger: Ledger, manifests: Manifests, run: RunRecord, redrive: Redrive
) -> Iterator[ManifestEntry]:
    """The lines of the manifest of a generation that is enumerated now; checked again, by the job as it is today."""
    for failure in chosen(ledger, manifests, run, redrive):
        yield _again(job, run, failure, redrive)


def _again(job: Job, run: RunRecord, failure: Failure, redrive: Redrive) -> ManifestEntry:
    line = failure.line
    key = line.idempotency_key
    if redrive.new_key and line.key is not None:
        key = f"{own_key(run.id, line.key, key)}-g{run.generation}"
    checked = job.payloads.enumerated(Entry(line.key, line.payload, key))
    since = failure.unanswered_since
    return replace(checked, unanswered_since=None if since is None else iso(since))
