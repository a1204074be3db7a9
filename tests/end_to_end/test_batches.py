"""The state machine really goes over the slices: in their order, one at a time, with the pause between."""

import json
import time

import pytest

from rollcall.core.names import execution_name
from tests.end_to_end.local import Local, declared, stand_ins

pytestmark = pytest.mark.end_to_end

ENTRIES = 18
SLICES = 5
JOB = "batched"


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
    (machine,) = sfn.list_state_machines()["stateMachines"]
    (execution,) = sfn.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]
    assert execution["name"] == execution_name(run, 1)
    given = sfn.describe_execution(executionArn=execution["executionArn"])["input"]
    assert json.loads(given)["slices"] == list(range(SLICES))
