"""Processes die in the middle: nothing is lost, nothing is counted twice, one completion."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rollcall.adapters.ledger.records import run_key
from rollcall.core.actions import Action
from rollcall.core.catalog import Declared
from rollcall.core.names import queue_name
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunState, iso
from tests.end_to_end.clone import Clone
from tests.end_to_end.jobs._little import POISON
from tests.end_to_end.local import Local, declared, stand_ins
from tests.end_to_end.processes import until
from tests.end_to_end.server import Answer, Asked, Server
from tools.local_cloud import lambda_api, resources
from tools.local_cloud.cloud import LocalCloud

pytestmark = pytest.mark.end_to_end

DIED = "Runtime exited: the process ended without an answer"


def test_killed_workers_cost_at_most_a_second_call_of_what_they_held(local: Local) -> None:
    with stand_ins("side_by_side", entries=400, latency_ms=50) as serving:
        report = f"{serving.base}/report/side-by-side"
        deployed = local.deploy(declared("side_by_side"), f"{serving.base}/target", report, visibility=8)
        run, held = local.start("side-by-side"), 0
        for calls in (60, 140, 220):
            assert until(lambda calls=calls: serving.stats()["calls"] >= calls, 30)  # type: ignore[misc]
            assert until(lambda: deployed.worker.busy, 5, 0.001)
            held += sum(len(event["Records"]) for event in deployed.worker.kill_all())
        assert held > 0
        assert not local.record(run).state.terminal
        completed = local.completed(run)
        assert (completed["clean"], completed["outcomes"]["succeeded"]) == (True, 400)
        assert local.completions(run) == 1
        stats = serving.stats()
        assert set(stats["calls_per_entry"]) <= {"1", "2"}
        assert 400 <= stats["calls"] <= 400 + held


def test_an_entry_that_takes_its_worker_down_ends_alone(local: Local, target: Server) -> None:
    keys = [f"T{n}" for n in range(15)]
    things = [{"id": key, "name": POISON if key == "T4" else key} for key in keys]

    def answering(asked: Asked) -> Answer:
        return Answer(body=_report(things)) if asked.method == "GET" else Answer()

    target.forget()
    target.answering = answering
    local.deploy(declared("hasty"), target.url, f"{target.url}/report", visibility=4)
    completed = local.run("hasty")
    assert (completed["state"], completed["total"], completed["outcomes"]["succeeded"]) == ("complete", 15, 14)
    assert completed["outcomes"]["unknown"] == 1
    failure = local.failures(completed["run"])["T4"]
    assert (failure.outcome, failure.error, failure.attempts) == (Outcome.UNKNOWN, "worker_died", 1)
    called = {asked.path.removeprefix("/things/") for asked in target.asked if asked.method == "PUT"}
    assert called == {*keys} - {"T4"}
    assert local.completions(completed["run"]) == 1


def _report(things: list[dict[str, str]]) -> bytes:
    return json.dumps({"Report_Entry": things}).encode()


@pytest.fixture
def watched(own_clone: Clone, monkeypatch: pytest.MonkeyPatch) -> Iterator[Local]:
    """A local cloud whose watchdog knows the test job, and which retries a failed start after a second."""
    own_clone.add_job(Path(__file__).parent / "jobs/side_by_side.py")
    monkeypatch.setattr(lambda_api, "RETRY_SECONDS", (1.0, 1.0))
    with LocalCloud(import_path=[str(own_clone.root)]) as cloud:
        yield Local(cloud)


def test_a_fan_out_that_dies_in_dispatch_is_taken_over_when_its_lease_ends(watched: Local) -> None:
    entries = 3_000
    with stand_ins("side_by_side", entries=entries, latency_ms=0) as serving:
        job = declared("side_by_side")
        in_clone = Declared(job.job, "little", "functions.jobs.little.side_by_side")
        deployed = watched.deploy(in_clone, f"{serving.base}/target", f"{serving.base}/report/side-by-side")
        run = watched.start("side-by-side")
        assert until(lambda: on_queue(watched) > 0, 30, 0.002)
        assert deployed.fan_out.kill_one()
        died = watched.record(run)
        assert (died.state, died.checkpoint, died.window_end) == (RunState.DISPATCHING, 0, entries)
        assert died.lease_until is not None

        # The start is tried again, and finds that somebody may still be at work.
        assert until(lambda: Action.RUN_DUPLICATE_START in _log(watched), 15)
        assert watched.record(run).fence == died.fence

        end_lease(watched, run)
        watched.cloud.tick()
        completed = watched.completed(run)
        assert (completed["clean"], completed["total"], completed["outcomes"]["succeeded"]) == (True, entries, entries)
        assert watched.record(run).fence == died.fence + 1
        assert watched.completions(run) == 1
        stats = serving.stats()
        assert (stats["calls"], stats["calls_per_entry"]) == (entries, {"1": entries})
        assert watched.cloud.failures == [
            f"{deployed.fan_out.name}: Runtime exited: the process ended without an answer"
        ]


def on_queue(local: Local) -> int:
    """Messages of the test job's queue, about."""
    sqs, counted = local.cloud.client("sqs"), ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    url = sqs.get_queue_url(QueueName=queue_name(resources.ENVIRONMENT, "side-by-side"))["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counted)["Attributes"]
    return sum(int(found[name]) for name in counted)


def _log(local: Local) -> str:
    return "".join(path.read_text() for path in local.cloud.folder.glob("*fan-out.log"))


def end_lease(local: Local, run: str) -> None:
    """Fifteen minutes pass for this run."""
    over = datetime.now(UTC) - timedelta(seconds=1)
    local.cloud.client("dynamodb").update_item(
        TableName=resources.LEDGER,
        Key={"pk": {"S": run_key(run)}},
        UpdateExpression="SET lease_until = :over",
        ConditionExpression="attribute_exists(lease_until)",
        ExpressionAttributeValues={":over": {"S": iso(over)}},
    )
