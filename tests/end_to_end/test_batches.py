"""The state machine really goes over the slices: in their order, one at a time, with the pause between."""

import json
import time
from typing import Any

import pytest

from bench.donations import BUDGET_MB, run_donations
from functions.jobs.donations import scheduled_donations
from functions.jobs.donations._targets import DONATIONS
from rollcall import Batches
from rollcall.core.catalog import Declared
from rollcall.core.names import execution_name, state_machine_name
from tests.end_to_end.local import Local, declared, stand_ins
from tests.end_to_end.processes import until
from tools.cli.stand_ins import StandIns
from tools.local_cloud.resources import ENVIRONMENT

pytestmark = pytest.mark.end_to_end

CHARGED = 70
DONATIONS_DUE = 150
ENTRIES = 18
SLICES = 5
JOB = "batched"
batches = scheduled_donations.job.delivery or Batches()


def test_every_entry_is_called_once_in_batches_with_pauses_and_the_run_completes_once(local: Local) -> None:
    with stand_ins(JOB, entries=ENTRIES, error_rate=0.0) as serving:
        local.deploy(declared(JOB), serving.of("little"), f"{serving.base}/report/{JOB}")
        began = time.monotonic()
        run = local.start(JOB)
        completed = local.completed(run)
        took = time.monotonic() - began
        counted = serving.counts("little")
    assert (completed["clean"], completed["outcomes"]["succeeded"]) == (True, ENTRIES)
    assert counted["calls"] == ENTRIES
    assert took > SLICES - 1, "there are four pauses of a second"
    assert local.completions(run) == 1
    sfn = local.cloud.client("stepfunctions")
    machines = {each["name"]: each for each in sfn.list_state_machines()["stateMachines"]}
    machine = machines[state_machine_name(ENVIRONMENT, JOB)]
    (execution,) = sfn.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]
    assert execution["name"] == execution_name(run, 1)
    given = sfn.describe_execution(executionArn=execution["executionArn"])["input"]
    assert json.loads(given)["slices"] == list(range(SLICES))


def test_batches_do_not_overlap_and_rest_and_nobody_is_charged_twice_though_slices_are_repeated() -> None:
    faults: dict[str, Any] = {"bank_error_rate": 0.02, "bank_lost_rate": 0.02, "bank_refusal_rate": 0.02}
    ran = run_donations(DONATIONS_DUE, **faults)
    seen, pause = ran.seen, batches.pause.total_seconds()
    assert seen.overlapping == 0
    assert seen.shortest_pause >= pause
    assert seen.most_calls_at_once <= batches.size
    assert seen.called_after_a_decline == 0
    assert seen.waits[1][0] >= 2, "a slice that is repeated does not shorten a wait"
    assert ran.repeated > 0
    assert (ran.charged, ran.charged_twice) == (ran.outcomes["succeeded"], 0)
    assert sum(ran.outcomes.values()) == DONATIONS_DUE
    assert ran.peak_memory_mb < BUDGET_MB


def test_no_donation_is_charged_twice_though_a_batch_dies_and_answers_are_lost(local: Local) -> None:
    job = scheduled_donations.job
    module = "functions.jobs.donations.scheduled_donations"
    faults = {"bank_lost_rate": 0.05, "bank_refusal_rate": 0.05}
    with StandIns(latency_ms=300, **faults) as serving:
        deployed = local.deploy(Declared(job, "donations", module), serving.of("payments"), "")
        local.cloud.fill(DONATIONS, (scheduled_donations.example(n) for n in range(CHARGED)))
        run = local.start(job.name)
        assert until(lambda: serving.counts("payments")["posts"] >= 10, 30)
        assert until(deployed.worker.kill_one, 5, 0.001)
        completed = local.completed(run, 90)
        bank = serving.counts("payments")
    outcomes = completed["outcomes"]
    assert completed["total"] == CHARGED
    assert outcomes["succeeded"] + outcomes["rejected"] == CHARGED
    assert bank["movements_per_reference"] == {"1": outcomes["succeeded"]}
    assert bank["posts"] > CHARGED or bank["probes"] > 0
