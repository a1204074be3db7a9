"""Enumeration: write the source's entries as an unsealed manifest, in chunks."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import BoundedSemaphore

from rollcall.adapters.clients import words_of
from rollcall.adapters.manifests import Manifests
from rollcall.core.actions import Action, log
from rollcall.core.entry import Entry, ManifestEntry
from rollcall.core.errors import SourceError, raised_by_rollcall
from rollcall.core.expect import too_many
from rollcall.core.job import Job
from rollcall.core.redaction import without_values
from rollcall.core.run import Record, Run, RunRecord
from rollcall.core.values import batched, counted
from rollcall.engine.runs.key_index import Seen, SeenKeys

#: Chunks written to S3 at the same time. More would cost memory: each may hold 250 payloads.
WRITERS = 4
#: Duplicates with a log line each, to bound the log; all duplicates are counted.
MOST_LOGGED = 20
NO_KEY = "it has no idempotency key of its own, and its job moves money: a second run could not know it again"


@dataclass(frozen=True, slots=True)
class Enumerated:
    """A written, unsealed manifest."""

    nonce: str
    total: int
    duplicates: int


def enumerate_entries(
    job: Job,
    run: RunRecord,
    lines: Iterable[ManifestEntry],
    manifests: Manifests,
    nonce: str,
    out_of_time: Callable[[], bool],
) -> Enumerated:
    """Write `lines` as the run's manifest under `nonce`, without duplicate keys.

    Raises SourceError if the list cannot be trusted as a whole. No entry has been called then.
    """
    counts = _Counts()
    with SeenKeys() as seen, ThreadPoolExecutor(WRITERS) as writers:
        free = BoundedSemaphore(2 * WRITERS)
        written: list[Future[None]] = []
        for number, chunk in enumerate(batched(_unique(job, run, lines, seen, counts), run.chunk_size)):
            if out_of_time():
                raise SourceError(
                    f"it is not enumerated in time: {counted(counts.total, 'entry')} so far; make its source faster"
                )
            free.acquire()
            future = writers.submit(manifests.write, run, nonce, number, chunk)
            future.add_done_callback(lambda _: free.release())
            written = [*(earlier for earlier in written if not earlier.done() or earlier.exception()), future]
        for future in written:
            future.result()
    return Enumerated(nonce, counts.total, counts.duplicates)


@dataclass(slots=True)
class _Counts:
    total: int = 0
    duplicates: int = 0


def source_lines(job: Job, source_run: Run) -> Iterator[ManifestEntry]:
    """Yield a checked manifest line for each entry of the job's source.

    Raises SourceError for every error that the source raises.
    """
    in_hand = _InHand()
    return (admitted(job, entry) for entry in _yielded(job, source_run.reading(in_hand.noted), in_hand))


def admitted(job: Job, entry: Entry) -> ManifestEntry:
    """Return the manifest line of `entry`; one that must not be called carries its rejection."""
    line = job.payloads.enumerated(entry)
    if job.moves_money and line.rejected is None and line.idempotency_key is None:
        return replace(line, rejected=NO_KEY)
    return line


def _unique(
    job: Job, run: RunRecord, lines: Iterable[ManifestEntry], seen: SeenKeys, counts: _Counts
) -> Iterator[ManifestEntry]:
    for number, line in enumerate(lines, start=1):
        earlier = Seen.NEVER if line.key is None else seen.add(line)
        if earlier is Seen.DIFFERENT and not job.first_wins:
            raise SourceError(
                f"it contradicts itself: entry {number:,} has the key of an earlier one and another payload; "
                f"correct the report, or declare the job with first_wins=True"
            )
        if earlier is not Seen.NEVER:
            counts.duplicates += 1
            if counts.duplicates <= MOST_LOGGED:
                log(Action.ENTRY_DUPLICATE, run=run.id, job=job.name, number=number)
            continue
        counts.total += 1
        yield line


class _InHand:
    """A holder of the record that a source has read last."""

    def __init__(self) -> None:
        self.record: Record = {}

    def noted(self, records: Iterator[Record]) -> Iterator[Record]:
        for self.record in records:
            yield self.record


def _yielded(job: Job, source_run: Run, in_hand: _InHand) -> Iterator[Entry]:
    """Yield the source's entries, with its errors made safe to publish.

    An error of the source's code becomes a SourceError with the number of entries so far and the place of the failure,
    without the error's text, which may quote a record. A SourceError that the source raises is raised again without
    the values of the current record and entry.
    """
    number, entry = 0, Entry(None, None)
    try:
        for number, entry in enumerate(job.entries(source_run), start=1):
            if not isinstance(entry, Entry):
                raise SourceError(f"entry {number} is of type {type(entry).__name__}, not an Entry; correct the source")
            if number > job.most_entries:
                raise SourceError(too_many(job.most_entries))
            yield entry
    except SourceError as error:
        if raised_by_rollcall(error):
            raise
        raise SourceError(without_values(str(error), in_hand.record, entry.key, entry.payload)) from error
    except Exception as error:
        raise SourceError(f"the source failed after {counted(number, 'entry')}: {words_of(error)}") from error


def too_short(job: Job, total: int, last_total: int | None) -> str | None:
    """Return why a manifest of `total` entries must not be sealed, or None."""
    return job.expect.objection(total, last_total) if job.expect is not None else None
