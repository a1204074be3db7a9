"""Jobs and runs side by side in one local cloud: each has its own counts."""

import time
from collections.abc import Mapping
from typing import Any

import pytest

from rollcall.core.catalog import catalog
from tests.end_to_end.local import Local, declared, stand_ins
from tests.end_to_end.processes import until
from tests.end_to_end.server import Answer, Asked, Server
from tools.cli.stand_ins import StandIns

pytestmark = pytest.mark.end_to_end


def test_all_jobs_of_the_checkout_that_call_a_target_run_at_the_same_time(local: Local) -> None:
    jobs = {name: each for name, each in catalog().items() if each.job.target.http and each.job.example_record}
    runs = {}
    serving: list[StandIns] = []
    try:
        for number, (name, each) in enumerate(jobs.items(), start=1):
            report = {"job_module": each.module, "entries": 20 * number} if each.job.reports else {}
            serving.append(StandIns(latency_ms=5, **report))
            local.deploy(each, serving[-1].of(each.job.target.name), f"{serving[-1].base}/report/{name}")
            if not each.job.reports and each.job.example_record is not None:
                items = [each.job.example_record(n) for n in range(20 * number)]
                local.cloud.fill(each.job.tables[0], items)
        for name in jobs:
            runs[name] = local.start(name)
        for number, (name, run) in enumerate(runs.items(), start=1):
            expect_clean(local.completed(run), 20 * number)
            assert local.completions(run) == 1, name
        counts = [each.counts(jobs[name].job.target.name) for name, each in zip(jobs, serving, strict=True)]
        calls = [count.get("calls", count.get("posts")) for count in counts]
        assert calls == [20 * number for number in range(1, len(jobs) + 1)]
    finally:
        for each_serving in serving:
            each_serving.__exit__(None, None, None)


def test_two_runs_of_a_job_that_allows_it_have_their_own_counts_of_the_same_entries(local: Local) -> None:
    with stand_ins("side_by_side", entries=150, latency_ms=40) as serving:
        local.deploy(declared("side_by_side"), f"{serving.base}/target", f"{serving.base}/report/side-by-side")
        first = local.start("side-by-side")
        assert until(lambda: serving.stats()["calls"] > 10, 30)
        time.sleep(2)
        second = local.start("side-by-side")
        for run in (first, second):
            expect_clean(local.completed(run), 150)
            assert local.completions(run) == 1
        stats = serving.stats()
        assert (stats["calls"], stats["calls_per_entry"]) == (300, {"1": 300})


def test_a_run_that_is_due_too_early_is_skipped(local: Local, target: Server) -> None:
    first = start_slowly(local, target, "skipping")
    second = local.completed(local.start("skipping"))
    assert (second["state"], second["clean"], second["total"]) == ("skipped", False, 0)
    assert first in second["reason"]
    target.answering = lambda _: Answer()
    expect_clean(local.completed(first), 6)


def test_a_run_that_is_due_too_early_waits_where_the_job_says_so(local: Local, target: Server) -> None:
    first = start_slowly(local, target, "queueing")
    second = local.start("queueing")
    assert until(lambda: local.cloud.ledger.run(second), 30)
    assert local.record(second).state == "queued"
    assert not local.record(first).state.terminal
    expect_clean(local.completed(first), 6)
    expect_clean(local.completed(second), 6)
    callers = [asked.key.rpartition("-")[0] for asked in target.asked if asked.method == "PUT"]
    assert callers == [first] * 6 + [second] * 6, "the second began before the first had ended"
    assert local.completions(second) == 1


def start_slowly(local: Local, target: Server, name: str) -> str:
    """Start a run of six things that takes a while; returns once the first of them is called."""

    def answering(asked: Asked) -> Answer:
        if asked.method == "GET":
            return Answer(body=b'{"Report_Entry": [%s]}' % b",".join(b'{"id": "T%d"}' % n for n in range(6)))
        time.sleep(0.4)
        return Answer()

    target.forget()
    target.answering = answering
    local.deploy(declared(name), target.url, f"{target.url}/report")
    run = local.start(name)
    assert until(lambda: any(asked.method == "PUT" for asked in target.asked), 30)
    return run


def expect_clean(completed: Mapping[str, Any], total: int) -> None:
    assert (completed["state"], completed["clean"], completed["total"]) == ("complete", True, total)
    assert completed["outcomes"]["succeeded"] == total
