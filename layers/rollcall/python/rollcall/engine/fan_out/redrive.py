"""Redrive: chosen entries of a terminal run are settled again, in a generation with a manifest of just those."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.manifests import Manifests
from rollcall.core.actions import Action, entry_fields, log
from rollcall.core.entry import LONGEST_KEY, UNUSABLE, Entry, ManifestEntry
from rollcall.core.job import Job
from rollcall.core.outcome import EXCEPTIONAL
from rollcall.core.run import Redrive, RunRecord, iso
from rollcall.core.values import digest
from rollcall.engine.fan_out.enumeration import admitted
from rollcall.engine.runs.failures import Failure, failures
from rollcall.engine.worker.callback import own_key


def matching(ledger: Ledger, manifests: Manifests, run: RunRecord, redrive: Redrive) -> Iterator[Failure]:
    """The entries of a run that meet the conditions, by the latest generation that each of them was in."""
    for failure in failures(ledger, manifests, run, redrive.outcomes or EXCEPTIONAL):
        if redrive.errors and failure.error not in redrive.errors:
            continue
        if redrive.keys and failure.key not in redrive.keys:
            continue
        yield failure


def chosen(ledger: Ledger, manifests: Manifests, run: RunRecord, redrive: Redrive) -> Iterator[Failure]:
    """Those of them that are settled again: not those without a key, and under a new key only what is definite."""
    for failure in matching(ledger, manifests, run, redrive):
        if failure.key is None:
            continue
        if redrive.new_key and not failure.definite:
            about = entry_fields(run.id, failure.generation, failure.index)
            log(Action.ENTRY_LEFT_OUT, **about, reason="a new key might be a second effect")
            continue
        yield failure


def redriven(
    job: Job, ledger: Ledger, manifests: Manifests, run: RunRecord, redrive: Redrive
) -> Iterator[ManifestEntry]:
    """The lines of the manifest of a generation that is enumerated now; checked again, by the job as it is today."""
    for failure in chosen(ledger, manifests, run, redrive):
        line = _checked_again(job, failure.line)
        if redrive.new_key and line.key is not None and line.rejected is None:
            yield replace(line, idempotency_key=_new_key(run, line.key, line.idempotency_key))
        else:
            # Where money moves or no key protects, an answer that leaves open what was done is as good as none.
            doubtful = not failure.definite and (job.moves_money or job.target.keys is None)
            since = _text(failure.unanswered_since or (failure.called_since if doubtful else None))
            called = _text(failure.called_since)
            yield replace(line, unanswered_since=since, called_since=called, indefinite=not failure.definite)


def _checked_again(job: Job, line: ManifestEntry) -> ManifestEntry:
    if line.rejected is not None and (line.payload is None or line.idempotency_key == UNUSABLE):
        return line  # what the source gave is not here to be checked
    return admitted(job, Entry(line.key, line.payload, line.idempotency_key))


def _new_key(run: RunRecord, key: str, idempotency_key: str | None) -> str:
    new = f"{own_key(run.id, key, None) if idempotency_key is None else idempotency_key}-g{run.generation}"
    return new if len(new) <= LONGEST_KEY else digest(new)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
