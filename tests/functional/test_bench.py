"""Every benchmark runs, at a size at which its figures mean nothing, so that none can rot."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import pytest

from bench import cost, donations, executions, fan_out_memory, http_clients, imports, kills, requests, throughput
from bench.__main__ import BENCHMARKS, main
from bench.http_client import MODULES
from bench.main_job import Ran, run_main_job
from bench.result import Result
from tools.local_cloud.isolation import isolate
from tools.local_cloud.ministack import CHECKOUT
from tools.stand_ins.bank import Call

pytestmark = [pytest.mark.end_to_end, pytest.mark.accounting]


@pytest.fixture(scope="module", autouse=True)
def isolated() -> Iterator[None]:
    kept = dict(os.environ)
    isolate(os.environ)
    yield
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture(scope="module")
def ran() -> Ran:
    return run_main_job(30, error_rate=0.1, shuffled=True, warm=True)


def arguments(module: ModuleType, *texts: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.options(parser)
    return parser.parse_args(texts)


def test_the_main_job_is_run_and_looked_at(ran: Ran) -> None:
    assert ran.clean
    assert ran.callbacks == 30 + ran.injected
    assert ran.requests["sqs"]["SendMessageBatch"] == 3
    assert {"fan_out", "worker", "completion", "pollers", "emulator", "stand_in"} <= ran.cpu_seconds.keys()
    assert cost.chunk_sizes(ran)


@pytest.mark.parametrize("module", [requests, throughput, cost])
def test_a_benchmark_tells_of_runs(
    module: ModuleType, ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "run_main_job", lambda *_, **__: ran)
    module.measure(arguments(module, "--entries", "30")).show()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["budgets"]


def with_kills(twice: int, unsettled: int, completions: int = 1) -> kills.Ran:
    """A run of ten entries whose workers were killed once."""
    return kills.Ran(
        state="complete",
        clean=True,
        completions=completions,
        outcomes={"succeeded": 10, "failed": 0},
        calls=11 + twice,
        injected=1,
        calls_per_entry={"1": 10 - twice, "2": 1 + twice},
        seconds=150.0,
        others_seconds=2.0,
        kills=[kills.Killed(calls=3, processes=2, received=unsettled + 1, unsettled=unsettled)],
    )


@pytest.mark.parametrize(
    ("ran", "broken"),
    [
        (with_kills(twice=4, unsettled=4), []),
        (with_kills(twice=5, unsettled=4), ["no more calls made twice than messages received and unsettled"]),
        (with_kills(twice=4, unsettled=4, completions=2), ["one completion"]),
    ],
    ids=["as many calls twice as were unsettled", "one more", "announced twice"],
)
def test_a_run_with_kills_is_held_to_its_bound(
    ran: kills.Ran, broken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unharmed = replace(with_kills(twice=0, unsettled=0), kills=[])
    monkeypatch.setattr(kills, "run_with_kills", lambda _, at, **__: ran if at else unharmed)
    assert kills.measure(arguments(kills, "--entries", "10")).broken == broken


def test_a_broken_claim_is_an_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    result = Result("imports")
    result.claim("it holds", False)
    monkeypatch.setattr(imports, "measure", lambda _: result)
    monkeypatch.setattr(sys, "argv", ["bench", "imports"])
    assert main() == 1
    assert "BROKEN" in capsys.readouterr().out


def test_donations_are_run_and_told_of() -> None:
    found = donations.measure(arguments(donations, "--small", "0", "--entries", "60"))
    assert found.broken == []
    assert found.fields["60"]["charged"] == found.fields["60"]["outcomes"]["succeeded"]
    assert found.fields["60"]["state_transitions"] >= 1 + 2 * 4


def test_what_the_bank_saw_of_batches_is_told_from_its_calls() -> None:
    batch_of = {"a": 0, "b": 0, "c": 1}
    calls = [Call("a", 0.0, 0.5, 201), Call("b", 0.25, 0.75, 503), Call("b", 2.75, 3.25, 422), Call("b", 4, 4.5, 422)]
    seen = donations.look([*calls, Call("c", 4.25, 4.75, 201)], batch_of)
    assert (seen.overlapping, seen.shortest_pause, seen.most_calls_at_once) == (1, -0.25, 2)
    assert seen.waits == {1: (2.0, 2.0), 2: (0.75, 0.75)}
    assert (seen.waited, seen.called_after_a_decline) == (2.75, 1)
    rested = donations.look([*calls[:3], Call("c", 4.25, 4.75, 201)], batch_of)
    assert (rested.overlapping, rested.shortest_pause, rested.called_after_a_decline) == (0, 1.0, 0)


def test_transitions_follow_from_an_executions_events() -> None:
    """A batch that is handled once takes four, another three for each time more, and the Map is one."""
    once = ["ExecutionStarted", "TaskScheduled", "TaskSucceeded"]
    assert executions.transitions(once, 1) == 1 + 4
    assert executions.transitions([*once, "TaskScheduled", "TaskSucceeded"], 1) == 1 + 4 + 3


def test_a_batch_costs_transitions_above_all() -> None:
    bill = cost.bill_of_batches({("dynamodb", "UpdateItem"): 0.1}, {}, transitions=0.1, rounds=0.02)
    assert bill["Step Functions"] == pytest.approx(2.5)
    assert sum(bill.values()) == pytest.approx(2.5 + 0.0625 + 0.02 * 0.2 + 0.02 * 1e6 * 0.2 * 0.25 * 1.33334e-5)


def test_fan_outs_memory_is_measured() -> None:
    found = fan_out_memory.measure(arguments(fan_out_memory, "--small", "20", "--entries", "300")).fields
    assert found["small"]["messages"] == 20
    assert found["large"]["messages"] == 300
    assert found["large"]["peak_memory_mb"] > 10


def test_http_clients_are_compared() -> None:
    found = http_clients.measure(arguments(http_clients, "--entries", "4", "--width", "2", "--rounds", "1")).fields
    assert found["cpu_seconds_per_1000"].keys() == MODULES.keys()


def test_imports_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "HANDLERS", ("completion",))
    found = imports.measure(arguments(imports, "--times", "1")).fields["over_boto3"]["completion"]
    assert "rollcall" in found["packages_ms"]


def test_the_benchmarks_are_listed() -> None:
    command = [sys.executable, "-m", "bench", "--help"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert all(name in listed for name in BENCHMARKS)


def test_an_items_size_is_reckoned_as_dynamodb_does() -> None:
    assert cost.item_size({"pk": {"S": "run#é"}}) == 2 + 6
    assert cost.item_size({"n": {"N": "0"}}) == 1 + 1
    assert cost.item_size({"n": {"N": "100"}}) == 1 + 2
    assert cost.item_size({"n": {"N": "-123.45"}}) == 1 + 5
    assert cost.item_size({"s": {"NS": ["1", "123"]}}) == 1 + 2 + 3
    assert (
        cost.item_size({"m": {"M": {"a": {"S": "bc"}}}, "l": {"L": [{"N": "1"}]}}) == 1 + 3 + 1 + 1 + 2 + 1 + 3 + 1 + 2
    )
