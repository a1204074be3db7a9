"""The recorder: the same code writes the same files, and the stories leave everything that the code can write."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from rollcall.adapters.ledger import records
from rollcall.adapters.ledger.entries import EntryRecord
from rollcall.adapters.ledger.records import NodeRecord
from rollcall.core.entry import ManifestEntry
from rollcall.core.message import SENT_AGAIN, Message
from rollcall.core.outcome import EXCEPTIONAL
from rollcall.core.run import JobRecord, RunRecord, RunState, TargetRecord
from tests.releases.files import END, MIDWAY, Moment, Release
from tests.releases.readings import plain
from tests.releases.record import quiet, record, tell
from tests.releases.stories import STORIES

#: Of a run: what is read of its announcement, and of its fence and owner.
RECORDS: Mapping[str, type] = {
    "run": RunRecord,
    "job": JobRecord,
    "target": TargetRecord,
    "node": NodeRecord,
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A recording of the code as it is."""
    release = Release(tmp_path_factory.mktemp("release") / "next")
    with quiet():
        record(release, "next", "none", [])
    return release


@pytest.fixture(scope="module")
def moments(recorded: Release) -> list[Moment]:
    return [recorded.story(name, moment) for name in recorded.stories for moment in (MIDWAY, END)]


@pytest.fixture(scope="module")
def items(moments: list[Moment]) -> dict[str, list[Mapping[str, Any]]]:
    """All items of the records, by their kind."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for moment in moments:
        for key, item in moment.read("ledger.json").items():
            found.setdefault(key.partition("#")[0], []).append(item)
    return found


@pytest.mark.parametrize("name", ["enumerating", "claims", "pipeline"])
def test_the_same_code_writes_the_same_files(recorded: Release, name: str, tmp_path: Path) -> None:
    with quiet():
        tell(Release(tmp_path), STORIES[name], list(STORIES).index(name))
    assert _files(tmp_path / "stories" / name) == _files(recorded.folder / "stories" / name)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_kind_of_item_is_recorded(items: Mapping[str, Any]) -> None:
    """Whoever adds a kind of item adds a story that leaves one."""
    functions = inspect.getmembers(records, inspect.isfunction)
    kinds = {name.removesuffix("_key") for name, _ in functions if name.endswith("_key")}
    assert kinds == set(items)


def test_every_state_of_a_run_is_recorded(items: Mapping[str, list[Mapping[str, Any]]]) -> None:
    assert {item["state"]["S"] for item in items["run"]} == {state.value for state in RunState}


@pytest.mark.parametrize("kind", RECORDS)
def test_every_field_of_a_record_is_recorded(kind: str, moments: list[Moment]) -> None:
    """Whoever adds a field adds a story that leaves it with another value than the default."""
    left = {field.name: _default(field) for field in fields(RECORDS[kind])}
    for reading in (each for moment in moments for each in _readings(moment, kind)):
        left = {name: default for name, default in left.items() if reading[name] == default}
    assert left == {}


def test_every_field_of_an_entrys_record_is_recorded(moments: list[Moment]) -> None:
    left = {field.name: _default(field) for field in fields(EntryRecord)}
    for reading in (each for moment in moments for each in _readings(moment, "entry")):
        left = {name: default for name, default in left.items() if reading["1"][name] == default}
    assert left == {}


def _default(field: Any) -> Any:
    """The value of a field where an item does not say it, as JSON; of one that every item has, no value at all."""
    if field.default_factory is not MISSING:
        return plain(field.default_factory())
    return "nothing" if field.default is MISSING else plain(field.default)


def _readings(moment: Moment, kind: str) -> Iterator[Mapping[str, Any]]:
    for key, reading in moment.read("readings.json").items():
        if key.startswith(f"{kind}#"):
            yield reading


def test_every_exceptional_outcome_is_recorded(items: Mapping[str, list[Mapping[str, Any]]]) -> None:
    sets = {name for item in items["node"] for name in item}
    told = {name for item in items["entry"] for name in item}
    outcomes = {outcome.value for outcome in EXCEPTIONAL}
    assert outcomes <= sets
    assert {f"g1_{outcome}" for outcome in outcomes} <= told
    assert {"late_answer", "g1_rejected_superseded"} <= told


def test_every_field_of_a_manifests_line_is_recorded(moments: list[Moment]) -> None:
    lines = "\n".join(path.read_text("ascii") for moment in moments for path in moment.folder.glob("bucket/**/*.jsonl"))
    assert [field.name for field in fields(ManifestEntry) if f'"{field.name}":' not in lines] == []


def test_every_field_of_a_message_is_recorded(moments: list[Moment]) -> None:
    bodies = "\n".join(path.read_text("ascii") for moment in moments for path in moment.folder.glob("messages/*"))
    assert [field.name for field in fields(Message) if f'"{field.name}":' not in bodies] == []
    marks = {name for moment in moments for told in _messages(moment) for name in told["attributes"]}
    assert marks == {SENT_AGAIN}


def _messages(moment: Moment) -> Iterator[Mapping[str, Any]]:
    for messages in moment.read("services.json")["queues"].values():
        yield from messages


def test_a_dead_letter_that_is_no_message_is_recorded(moments: list[Moment]) -> None:
    kept = [path for moment in moments for path in moment.folder.glob("bucket/dead_letter/*")]
    assert {path.read_bytes() for path in kept} == {"no message of ours ü".encode()}
