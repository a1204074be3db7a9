"""Metrics in the logs of functions that run as processes, and the alarm that they set off."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollcall.core.metrics import ENVIRONMENT, JOB, NAMESPACE, Metric
from tests.end_to_end.local import Local, declared
from tests.end_to_end.processes import until
from tests.end_to_end.server import Answer, Server
from tests.functional.alarms import Series, points, synthesized
from tools.local_cloud import resources

pytestmark = pytest.mark.end_to_end

KEYS = [f"T{n}" for n in range(12)]
REPORT = Answer(body=json.dumps({"Report_Entry": [{"id": key} for key in KEYS]}).encode())
OF_JOB = {ENVIRONMENT: resources.ENVIRONMENT, JOB: "side-by-side"}


def written(folder: Path) -> Iterator[str]:
    """The log lines of all functions; MiniStack's own and the interpreter's are no JSON."""
    for log in folder.glob("rollcall-*.log"):
        yield from (line for line in log.read_text().splitlines() if line.startswith("{"))


def test_a_run_whose_entries_fail_sets_off_the_alarm_of_its_environment(
    local: Local, target: Server, tmp_path: Path
) -> None:
    job = declared("side_by_side")
    target.answering = lambda asked: REPORT if asked.path == "/report" else Answer(500, b"out of order")
    local.deploy(job, f"{target.url}/target", f"{target.url}/report")
    run = local.run("side-by-side")["run"]
    folder = local.cloud.folder
    # The line follows the announcement.
    assert until(lambda: any('"RunsCompleted"' in line and run in line for line in written(folder)), 30)
    found = points(written(folder))
    for metric, value in ((Metric.RUNS_STARTED, 1), (Metric.RUNS_COMPLETED, 1), (Metric.ENTRIES_FAILED, len(KEYS))):
        assert found[Series(NAMESPACE, metric.value, frozenset(OF_JOB.items()))] == [value]
    alarms = {alarm.name: alarm for alarm in synthesized(resources.ENVIRONMENT, [job.job], tmp_path)}
    assert alarms["rollcall-local-entries-failed"].goes_off(found)
    assert not alarms["rollcall-local-entries-unknown"].goes_off(found)
