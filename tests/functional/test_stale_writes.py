"""Whoever comes too late writes nothing: each condition of a write, where it is the only one that does not hold."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from rollcall.adapters.ledger import entries, runs
from rollcall.adapters.ledger.entries import EntryName, EntryRecord
from rollcall.adapters.ledger.records import entry_key, job_key, run_key
from rollcall.adapters.ledger.update import ConditionFailed, Update
from rollcall.core.run import RunRecord, RunState, iso
from tests.functional.world import DUE, RUN, World

LATER = DUE + timedelta(hours=1)
OTHER = "pay-deposits-20261121T033000Z"
ENTRY = EntryName("D00", 0)
Fields = Mapping[str, object]


@dataclass(frozen=True)
class Write:
    """A write, the fields with which it is made, and what may have come in between: one thing at a time."""

    make: Callable[[World], object]
    run: Fields = field(default_factory=dict)
    job: Fields = field(default_factory=dict)
    entry: Fields = field(default_factory=dict)
    #: By what it is about.
    run_meanwhile: Mapping[str, Fields] = field(default_factory=dict)
    job_meanwhile: Mapping[str, Fields] = field(default_factory=dict)
    entry_meanwhile: Mapping[str, Fields] = field(default_factory=dict)


def another(world: World, state: RunState) -> RunRecord:
    return replace(world.run(), id=OTHER, state=state)


FENCE: Fields = {"fence": 9}
GENERATION: Fields = {"generation": 9}
POINTER: Mapping[str, Fields] = {"current": {"current": "x"}, "its generation": {"current_generation": 7}}
ANNOUNCER: Fields = {"announcer": "me", "announcing_until": iso(LATER)}
ANOTHER: Fields = {"announcer": "another", "announcing_until": iso(LATER)}
WATCHED: Fields = {"watched_schedule": "s", "watched_until": iso(DUE)}
WATCHED_MEANWHILE: Mapping[str, Fields] = {
    "another schedule": {"watched_schedule": "t"},
    "until later": {"watched_until": iso(LATER)},
}

WRITES = {
    "start": Write(
        lambda world: runs.start(world.ledger, another(world, RunState.ENUMERATING), world.job_record()),
        job_meanwhile=POINTER,
    ),
    "start the first": Write(
        lambda world: runs.start(world.ledger, another(world, RunState.ENUMERATING), world.job_record()),
        job={"current": None},
        job_meanwhile={"current": {"current": "x"}},
    ),
    "queue": Write(
        lambda world: runs.queue(world.ledger, another(world, RunState.QUEUED), world.job_record()),
        job_meanwhile={"queued": {"queued": "x"}, "current": {"current": "x"}},
    ),
    "promote": Write(
        lambda world: runs.promote(world.ledger, world.run(), world.job_record()),
        run={"state": "queued"},
        job={"queued": RUN},
        run_meanwhile={"state": {"state": "cancelled"}},
        job_meanwhile={"queued": {"queued": "x"}, **POINTER},
    ),
    "redrive": Write(
        lambda world: runs.redrive(
            world.ledger,
            world.run(),
            replace(world.run(), generation=2, fence=world.run().fence + 1, state=RunState.ENUMERATING),
            world.job_record(),
        ),
        run={"state": "complete", "announced_at": iso(DUE)},
        run_meanwhile={
            "fence": FENCE,
            "generation": GENERATION,
            "state": {"state": "cancelled"},
            "announced": {"announced_at": None},
        },
        job_meanwhile=POINTER,
    ),
    "cancel": Write(
        lambda world: runs.cancel(world.ledger, world.run(), DUE),
        run_meanwhile={"fence": FENCE, "generation": GENERATION, "state": {"state": "complete"}},
    ),
    "cancel a queued one": Write(
        lambda world: runs.cancel_queued(world.ledger, world.run(), DUE),
        run={"state": "queued"},
        job={"queued": RUN},
        run_meanwhile={"fence": FENCE, "state": {"state": "enumerating"}},
        job_meanwhile={"queued": {"queued": "x"}},
    ),
    "skip": Write(
        lambda world: runs.skip(world.ledger, another(world, RunState.SKIPPED), world.job_record()),
        job_meanwhile={"current": {"current": "x"}},
    ),
    "watch": Write(
        lambda world: runs.watch(world.ledger, world.job.name, "s", DUE),
        job_meanwhile={"watched": {"watched_schedule": "s", "watched_until": iso(LATER)}},
    ),
    "note what is watched": Write(
        lambda world: runs.watched(world.ledger, world.job_record(), LATER + timedelta(hours=1)),
        job=WATCHED,
        job_meanwhile=WATCHED_MEANWHILE,
    ),
    "miss": Write(
        lambda world: runs.miss(world.ledger, another(world, RunState.MISSED), world.job_record()),
        job=WATCHED,
        job_meanwhile=WATCHED_MEANWHILE,
    ),
    "note progress": Write(
        lambda world: runs.note_progress(world.ledger, world.run(), 7, DUE), run_meanwhile={"generation": GENERATION}
    ),
    "take over": Write(
        lambda world: runs.take_over(world.ledger, world.run(), "me", LATER, DUE),
        run={"state": "dispatching", "lease_until": None},
        run_meanwhile={
            "fence": FENCE,
            "generation": GENERATION,
            "state": {"state": "running"},
            "lease": {"lease_until": iso(LATER)},
        },
    ),
    "seal": Write(
        lambda world: runs.seal(world.ledger, world.run(), DUE, nonce="n", total=3, duplicates=0),
        run={"state": "enumerating"},
        run_meanwhile={"fence": FENCE, "generation": GENERATION, "state": {"state": "dispatching"}},
    ),
    "begin a repair": Write(
        lambda world: runs.begin_repair(world.ledger, world.run(), "me", LATER),
        run={"sent_at": iso(DUE)},
        run_meanwhile={
            "fence": FENCE,
            "generation": GENERATION,
            "state": {"state": "cancelling"},
            "sent": {"sent_at": iso(LATER)},
        },
    ),
    "begin the first repair": Write(
        lambda world: runs.begin_repair(world.ledger, world.run(), "me", LATER),
        run={"sent_at": None},
        run_meanwhile={"sent": {"sent_at": iso(DUE)}},
    ),
    "end a repair": Write(
        lambda world: runs.end_repair(world.ledger, world.run(), "me", LATER, DUE),
        run={"repairer": "me", "sent_at": iso(LATER)},
        run_meanwhile={
            "generation": GENERATION,
            "repairer": {"repairer": "another"},
            "sent": {"sent_at": iso(LATER + timedelta(hours=1))},
        },
    ),
    "let a lease expire": Write(
        lambda world: runs.expire(world.ledger, world.run(), DUE),
        run={"owner": "me", "lease_until": iso(LATER)},
        run_meanwhile={"fence": FENCE, "owner": {"owner": "another"}},
    ),
    "claim an announcement": Write(
        lambda world: runs.claim_announcement(world.ledger, world.run(), "me", DUE),
        run_meanwhile={
            "generation": GENERATION,
            "announced": {"announced_at": iso(DUE)},
            "announcer": ANOTHER,
        },
    ),
    "give up an announcement": Write(
        lambda world: runs.give_up_announcement(world.ledger, world.run(), "me"),
        run=ANNOUNCER,
        run_meanwhile={"generation": GENERATION, "announcer": ANOTHER},
    ),
    "note an announcement": Write(
        lambda world: runs.note_announced(world.ledger, world.run(), "me", DUE),
        run=ANNOUNCER,
        run_meanwhile={"generation": GENERATION, "announcer": ANOTHER},
    ),
    "close": Write(
        lambda world: runs.close(world.ledger, world.run()),
        run={"state": "complete", "announced_at": iso(DUE)},
        run_meanwhile={"generation": GENERATION, "announced": {"announced_at": None}},
    ),
    "keep": Write(
        lambda world: runs.keep(world.ledger, world.run(), {"etag": "new"}),
        run_meanwhile={"generation": GENERATION, "state": {"state": "complete"}},
    ),
    "claim an entry": Write(
        lambda world: claimed(world, EntryRecord()),
        entry_meanwhile={"owner": {"owner": "another"}, "fence": {"fence": 1}},
    ),
    "claim an entry again": Write(
        lambda world: claimed(world, EntryRecord(fence=2)),
        entry={"fence": 2},
        entry_meanwhile={"owner": {"owner": "another"}, "fence": {"fence": 3}},
    ),
    "free an entry": Write(
        lambda world: entries.free(world.ledger, world.run(), ENTRY, "me"),
        entry={"owner": "me", "fence": 1},
        entry_meanwhile={"owner": {"owner": "another"}},
    ),
}


def claimed(world: World, record: EntryRecord) -> EntryRecord:
    return entries.claim(world.ledger, world.run(), ENTRY, record, "me", LATER, DUE)


def put(world: World, key: str, fields: Fields) -> None:
    """What somebody writes into an item; None removes a field."""
    update = Update().set(**fields).remove(*(name for name, value in fields.items() if value is None))
    if fields:
        update.send(world.clients.dynamodb, "ledger", key)


@pytest.fixture
def ready(world: World) -> World:
    world.begin(12)
    return world


def prepare(world: World, write: Write) -> dict[str, str]:
    """Everything as the write expects it; returns the keys of the items."""
    keys = {"run": run_key(RUN), "job": job_key(world.job.name), "entry": entry_key(RUN, ENTRY.id)}
    for item, key in keys.items():
        put(world, key, getattr(write, item))
    return keys


def cases() -> Iterator[Any]:
    for name, write in WRITES.items():
        for item in ("run", "job", "entry"):
            for about, fields in getattr(write, f"{item}_meanwhile").items():
                yield pytest.param(write, item, fields, id=f"{name}: {item}: {about}")


@pytest.mark.parametrize("write", list(WRITES.values()), ids=list(WRITES))
def test_it_is_written_where_nothing_came_in_between(ready: World, write: Write) -> None:
    prepare(ready, write)
    before = ready.ledger_dump()
    write.make(ready)
    assert ready.ledger_dump() != before


@pytest.mark.parametrize(("write", "item", "fields"), list(cases()))
def test_nothing_is_written_by_whoever_comes_too_late(
    ready: World, write: Write, item: str, fields: Fields, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = prepare(ready, write)
    run, job = ready.run(), ready.job_record()
    put(ready, keys[item], fields)
    monkeypatch.setattr(ready, "run", lambda: run)
    monkeypatch.setattr(ready, "job_record", lambda: job)
    before = ready.ledger_dump()
    with suppress(ConditionFailed, runs.Conflict, runs.LostLease, runs.Claimed):
        write.make(ready)
    assert ready.ledger_dump() == before
