"""Redrive: settle chosen entries of a terminal run again, in a new generation."""

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
    """Yield the failures of a run that match the conditions of `redrive`."""
    for failure in failures(ledger, manifests, run, redrive.outcomes or EXCEPTIONAL):
        if redrive.errors and failure.error not in redrive.errors:
            continue
        if redrive.keys and failure.key not in redrive.keys:
            continue
        yield failure


def chosen(ledger: Ledger, manifests: Manifests, run: RunRecord, redrive: Redrive) -> Iterator[Failure]:
    """Yield the matching failures that a redrive settles again.

    Entries without a key are left out. If the redrive gives new keys, entries whose effect is uncertain are left out.
    """
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
    """Yield the manifest lines of the redriven generation, checked by the job's current rules."""
    for failure in chosen(ledger, manifests, run, redrive):
        line = _checked_again(job, failure.line)
        if redrive.new_key and line.key is not None and line.rejected is None:
            yield replace(line, idempotency_key=_new_key(run, line.key, line.idempotency_key))
        else:
            # If the job moves money or its target takes no keys, an indefinite answer counts as an unanswered call.
            doubtful = not failure.definite and (job.moves_money or job.target.keys is None)
            since = _text(failure.unanswered_since or (failure.called_since if doubtful else None))
            called = _text(failure.called_since)
            yield replace(line, unanswered_since=since, called_since=called, indefinite=not failure.definite)


def _checked_again(job: Job, line: ManifestEntry) -> ManifestEntry:
    if line.rejected is not None and (line.payload is None or line.idempotency_key == UNUSABLE):
        return line  # the manifest does not hold the source's values, so they cannot be checked
    return admitted(job, Entry(line.key, line.payload, line.idempotency_key))


def _new_key(run: RunRecord, key: str, idempotency_key: str | None) -> str:
    new = f"{own_key(run.id, key, None) if idempotency_key is None else idempotency_key}-g{run.generation}"
    return new if len(new) <= LONGEST_KEY else digest(new)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
