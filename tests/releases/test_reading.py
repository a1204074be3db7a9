"""The present version reads what every recorded release has written, and carries on what it has begun."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from functions.completion.handler import ended_run
from rollcall.adapters.ledger import batch_leases
from rollcall.adapters.ledger.items import values_of
from rollcall.adapters.ledger.records import run_record
from rollcall.core.entry import ManifestEntry
from rollcall.core.errors import InvalidMessage
from rollcall.core.message import SENT_AGAIN, Message
from rollcall.core.outcome import Outcome
from rollcall.core.run import OPEN, Redrive, RunRecord, RunState, from_iso
from rollcall.engine.batch.batch_handler import Slice
from rollcall.engine.batch.pipeline_steps import Wanted
from rollcall.engine.fan_out.run_lease import Again, Repair, Request, Resume, Start, request_of
from rollcall.engine.worker.messages import objection
from tests.releases.clouds import AFTER, LONGEST, RecordedCloud, Snapshot
from tests.releases.declared import MINUTE, SECOND
from tests.releases.files import END, MIDWAY, Moment, Release, releases
from tests.releases.readings import readings, says
from tests.releases.record import carried_on, quiet
from tests.releases.stories import STORIES, Story
from tests.releases.words import redrive

RELEASES = releases()
TOLD = [(release, name) for release in RELEASES for name in release.stories]
MOMENTS = [release.story(name, moment) for release, name in TOLD for moment in (MIDWAY, END)]
SENT = [each for release in RELEASES for each in release.read("events.json")]
#: Fields of an announcement that depend on when the run was carried on.
TIMES = {"completed_at", "duration_seconds"}


def name_of(value: object) -> str:
    if isinstance(value, Moment):
        return "-".join(value.folder.parts[-4:])
    return value.version if isinstance(value, Release) else str(value)


each_moment = pytest.mark.parametrize("moment", MOMENTS, ids=name_of)
each_story = pytest.mark.parametrize(("release", "name"), TOLD, ids=name_of)


def restored(story: Story, snapshot: Snapshot) -> RecordedCloud:
    """A deployment of the present version; entered by whoever gets it, and restored then."""
    return RecordedCloud(story.jobs(), seed=AFTER, start=snapshot.at)


# --- what is in the services ---


@each_moment
def test_every_item_of_the_ledger_is_read_as_the_release_read_it(moment: Moment) -> None:
    snapshot, story = moment.snapshot(), STORIES[moment.folder.parent.name]
    with restored(story, snapshot) as cloud:
        cloud.restore(snapshot)
        present = readings(cloud, snapshot.ledger)
    wrong = {
        key: (present.get(key), recorded)
        for key, recorded in moment.read("readings.json").items()
        if not says(present.get(key), recorded)
    }
    assert wrong == {}


@each_moment
def test_every_line_of_a_manifest_is_written_as_the_release_wrote_it(moment: Moment) -> None:
    for key, body in moment.snapshot().objects.items():
        if key.endswith(".jsonl"):
            lines = body.decode("ascii").split("\n")
            assert [ManifestEntry.from_fields(json.loads(line)).line() for line in lines] == lines


@each_moment
def test_every_message_is_taken_for_one_and_written_as_the_release_wrote_it(moment: Moment) -> None:
    for queue, bodies in moment.snapshot().sent.items():
        for body in (each for each in bodies if each.startswith("{")):
            assert Message.parse(body).body() == body, queue


@each_story
def test_every_message_on_a_queue_is_an_entry_of_its_run(release: Release, name: str) -> None:
    snapshot = release.story(name, MIDWAY).snapshot()
    for told in (told for messages in snapshot.queues.values() for told in messages):
        try:
            message = Message.parse(told["body"])
        except InvalidMessage:
            assert name == "dead-letters"
            continue
        run = run_record(values_of(snapshot.ledger[f"run#{message.run}"]))
        if run.state in OPEN or run.state is RunState.CANCELLING:
            assert objection(message, run) is None
        assert told["group"] == message.group
        assert told["attributes"].keys() <= {SENT_AGAIN}


@each_story
def test_a_lease_on_a_slice_is_kept(release: Release, name: str) -> None:
    snapshot = release.story(name, MIDWAY).snapshot()
    with restored(STORIES[name], snapshot) as cloud:
        cloud.restore(snapshot)
        for key, item in snapshot.ledger.items():
            kind, *names = key.split("#")
            if kind != "slice" or "lease_until" not in item:
                continue
            run, until = cloud.run(names[0]), from_iso(item["lease_until"]["S"])
            with pytest.raises(batch_leases.Leased) as leased:
                batch_leases.take(cloud.ledger, run, int(names[2]), "another", until + MINUTE, until - SECOND)
            assert leased.value.until == until


# --- what is under way ---


@each_story
def test_what_is_under_way_is_carried_on_to_its_end(release: Release, name: str) -> None:
    story, midway, end = STORIES[name], release.story(name, MIDWAY).snapshot(), release.story(name, END).snapshot()
    with quiet(), carried_on(story, midway, AFTER) as cloud:
        ends = {run: (cloud.run(run).state, cloud.outcomes(run)) for run in story.ends}
        assert ends == {run: (state, dict(counts)) for run, (state, counts) in story.ends.items()}
        assert _announced(cloud.announcements) == _announced(end.announced)
        assert _keys(cloud.snapshot()) == _keys(end)
        if any(job.target.keys is None for job in cloud.jobs):
            assert max(cloud.shops["shop"].effects.values()) == 1
    with restored(story, end) as recorded:
        recorded.restore(end)
        for run in story.ends:
            assert _outcomes(cloud, run) == _outcomes(recorded, run)


def _announced(details: Any) -> dict[str, dict[str, Any]]:
    """What was announced, by id, each once."""
    found = {detail["id"]: {name: value for name, value in detail.items() if name not in TIMES} for detail in details}
    assert len(found) == len(details)
    return found


def _keys(snapshot: Snapshot) -> dict[str, set[str]]:
    """The idempotency keys with which each entry was called, from its first call on."""
    found: dict[str, set[str]] = {}
    for memory in snapshot.targets.values():
        for key, idempotency_key, _ in memory["calls"]:
            found.setdefault(key, set()).add(idempotency_key)
    return found


def _outcomes(cloud: RecordedCloud, run: str) -> dict[tuple[int, str | None], Outcome | None]:
    """How each entry has ended in each generation."""
    manifests = readings(cloud, cloud.snapshot().ledger).get(f"manifests of {run}", {})
    found: dict[tuple[int, str | None], Outcome | None] = {}
    for generation in cloud.run(run).generations:
        lines = manifests[str(generation.generation)]
        for index, line in enumerate(lines):
            chunk, position = generation.tree.chunk_of(index)
            node = cloud.ledger.nodes(generation, [chunk])[chunk]
            found[generation.generation, line["key"]] = node.outcome(position)
    return found


@each_story
def test_what_had_ended_otherwise_than_well_is_redriven(release: Release, name: str) -> None:
    story, end = STORIES[name], release.story(name, END).snapshot()
    with quiet(), restored(story, end) as cloud:
        cloud.restore(end)
        chosen = [run for run in story.ends if _worth_redriving(cloud, run)]
        for run in chosen:
            before = cloud.run(run)
            redrive(cloud, run)
            cloud.run_until(cloud.ended, LONGEST, SECOND)
            after = cloud.run(run)
            assert (after.generation, after.state) == (before.generation + 1, RunState.COMPLETE)
            assert set(cloud.outcomes(run)) <= {Outcome.SUCCEEDED, Outcome.REJECTED, Outcome.UNKNOWN}


def _worth_redriving(cloud: RecordedCloud, run: str) -> bool:
    record: RunRecord = cloud.run(run)
    ended = record.state in {RunState.COMPLETE, RunState.CANCELLED}
    return ended and record.nonce is not None and set(cloud.outcomes(run)) > {Outcome.SUCCEEDED}


# --- events ---


def sent_to(kind: str) -> pytest.MarkDecorator:
    found = [each for each in SENT if f"-{kind}" in each["function"]]
    assert found
    ids = [f"{number}-{each['sender']}"[:60] for number, each in enumerate(found)]
    return pytest.mark.parametrize("event", [each["event"] for each in found], ids=ids)


@sent_to("fan-out")
def test_every_event_to_fan_out_is_the_request_that_it_was(event: Mapping[str, Any]) -> None:
    assert request_of(event) == _request(event)


def _request(event: Mapping[str, Any]) -> Request:
    match event:
        case {"resume": run}:
            return Resume(run)
        case {"repair": run}:
            return Repair(run)
        case {"redrive": run, "generation": generation, "outcomes": outcomes, "errors": errors, "keys": keys}:
            of = frozenset(map(Outcome, outcomes))
            return Again(run, generation, Redrive(of, frozenset(errors), frozenset(keys), event["new_key"]))
        case {"scheduled_time": due}:
            return Start(from_iso(due), event.get("nonce"), event.get("params", {}))
    raise AssertionError(f"say here which request {event} is")


@sent_to("batch")
def test_every_event_of_a_state_machine_is_the_slice_or_step_that_it_was(event: Mapping[str, Any]) -> None:
    if "slice" in event:
        assert Slice.of(event) == Slice(event["run"], event["generation"], event["slice"])
    else:
        assert Wanted.of(event) == Wanted(event["run"], event["generation"], event["step"], event.get("token"))


@sent_to("completion")
def test_every_change_that_ended_a_run_is_seen_to_have_ended_it(event: Mapping[str, Any]) -> None:
    for record in event["Records"]:
        key, new = record["dynamodb"]["Keys"]["pk"]["S"], record["dynamodb"]["NewImage"]
        ended_before = record["dynamodb"].get("OldImage", {}).get("state") == new["state"]
        assert ended_run(record) == (None if ended_before else key.removeprefix("run#"))


def test_every_input_of_an_execution_names_a_run_and_its_slices() -> None:
    found = [each for moment in MOMENTS for each in moment.snapshot().executions]
    fields = {tuple(json.loads(each["input"])) for each in found}
    assert fields == {("generation", "run", "slices")}


# --- the recordings themselves ---


def test_there_is_a_recording() -> None:
    assert "0.1.0" in {release.version for release in RELEASES}


@pytest.mark.parametrize("release", RELEASES, ids=name_of)
def test_every_recorded_story_is_still_told(release: Release) -> None:
    assert set(release.stories) <= set(STORIES)


def test_a_story_is_stopped_in_its_middle() -> None:
    """Most leave something to be done, some only something to be read."""
    release = RELEASES[0]
    done = {name for name in release.stories if _ended(release.story(name, MIDWAY).snapshot())}
    assert done == {"late", "superseded"}


def _ended(snapshot: Snapshot) -> bool:
    runs = [run_record(values_of(item)) for key, item in snapshot.ledger.items() if key.startswith("run#")]
    return all(run.state.terminal and run.announced for run in runs)
