"""Jobs and instants for tests, complete unless a test says otherwise."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rollcall import Call, Entry, Job, Run, Target, daily

#: When the runs of these tests are due.
DUE = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
RUN_ID = "client-deposit-update-20261121T023000Z"
TARGET = Target("accounting", concurrency=80)


def job(name: str = "client-deposit-update", **declared: Any) -> Job:
    """A declaration without source and callback."""
    return Job(name, **{"schedule": daily("02:30"), "target": TARGET, **declared})


def no_entries(_: Run) -> Iterator[Entry]:
    yield from ()


def accept(payload: Any, call: Call) -> None: ...


def whole_job(name: str = "client-deposit-update", **declared: Any) -> Job:
    """A declaration with source and callback."""
    whole = job(name, **declared)
    whole.source(no_entries)
    whole.callback(accept)
    return whole
