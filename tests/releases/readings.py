"""How a version reads what is in the services, as plain JSON: what the recorded release read, later ones must read."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from rollcall.adapters.ledger import pipeline_waiters
from rollcall.adapters.ledger.entries import EntryRecord, succeeded
from rollcall.adapters.ledger.items import values_of
from rollcall.adapters.ledger.records import Ledger, NodeRecord, job_record, run_record, target_record
from rollcall.adapters.manifests import Manifests
from rollcall.core.run import RunRecord, iso
from rollcall.engine.runs.failures import failures
from tests.releases.clouds import RecordedCloud
from tools.local_cloud.resources import MANIFESTS

#: A slice's item is read by the condition of its lease alone.
UNREAD = "slice"


def readings(cloud: RecordedCloud, items: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """By the key of an item of the ledger, the record that it is read as; and each run's manifests and failures."""
    found: dict[str, Any] = {}
    for key, item in items.items():
        kind, _, name = key.partition("#")
        if kind != UNREAD:
            found[key] = plain(_record(cloud.ledger, kind, name, values_of(item)))
    manifests = Manifests(cloud.observer.s3, MANIFESTS)
    for run in (run_record(values_of(item)) for key, item in items.items() if key.startswith("run#")):
        if run.generations:
            found[f"manifests of {run.id}"] = plain(_lines(manifests, run))
        if run.state.terminal and run.generations:
            found[f"failures of {run.id}"] = plain(list(failures(cloud.ledger, manifests, run)))
    return found


def _record(ledger: Ledger, kind: str, name: str, item: Mapping[str, Any]) -> object:
    match kind:
        case "run":
            return run_record(item)
        case "job":
            return job_record(name, item)
        case "target":
            return target_record(name, item)
        case "node":
            return NodeRecord.of(item)
        case "entry":
            late = {"late_answer": item["late_answer"]} if "late_answer" in item else {}
            return {"succeeded late": succeeded(late), **{str(of): EntryRecord.of(item, of) for of in (1, 2)}}
        case "waiting":
            return pipeline_waiters.of(ledger, name)
    raise AssertionError(f"there is an item of a new kind: {kind}; say here how it is read")


def _lines(manifests: Manifests, run: RunRecord) -> dict[str, object]:
    """The lines of every generation's manifest."""
    return {
        str(generation.generation): [
            line for chunk in range(generation.tree.chunks) for line in manifests.read(generation, chunk)
        ]
        for generation in run.generations
    }


def plain(value: object) -> Any:
    """A value as JSON: dataclasses by their fields, sets in order, moments in ISO 8601."""
    match value:
        case Enum():
            return value.value
        case datetime():
            return iso(value)
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {str(plain(name)): plain(member) for name, member in value.items()}
        case set() | frozenset():
            return sorted(map(plain, value))
        case str():
            return value
        case Sequence():
            return [plain(member) for member in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return value


def says(present: Any, recorded: Any) -> bool:
    """Whether `present` has every field of `recorded`, with its value; it may have others beside."""
    if isinstance(recorded, Mapping) and isinstance(present, Mapping):
        return all(name in present and says(present[name], value) for name, value in recorded.items())
    if isinstance(recorded, list) and isinstance(present, list) and len(recorded) == len(present):
        return all(map(says, present, recorded))
    return bool(present == recorded)
