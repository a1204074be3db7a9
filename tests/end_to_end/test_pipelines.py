"""A pipeline's state machine is really executed; its fan-out is a run like any other, whose end resumes it."""

import io
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from rollcall.adapters.buckets import BucketObjects
from rollcall.core.names import execution_name, state_machine_name
from rollcall.core.outcome import Outcome
from rollcall.core.run import Redrive
from tests.end_to_end.jobs import piped
from tests.end_to_end.local import Local, declared, stand_ins
from tools.cli.stand_ins import StandIns
from tools.local_cloud.resources import ENVIRONMENT

pytestmark = pytest.mark.end_to_end

ENTRIES = 30
STEPS = 4


class Piped:
    """The pipeline, deployed with the job of its fan-out."""

    def __init__(self, local: Local, serving: StandIns) -> None:
        self.local, self.serving = local, serving
        local.deploy(declared("imported"), serving.of("little"), f"{serving.base}/report/imported")
        local.cloud.deploy(declared("piped"), None, {})
        self.files = BucketObjects(local.cloud.client("s3"), f"rollcall-{ENVIRONMENT}-files")

    def put(self, content: bytes) -> None:
        self.files.upload("things", io.BytesIO(content))

    def run(self) -> Mapping[str, Any]:
        return self.local.run("piped")

    @property
    def calls(self) -> int:
        return int(self.serving.counts("little")["calls"])

    def import_of(self, run: str) -> str:
        return run.replace("piped-", "imported-")

    def history(self, run: str) -> list[str]:
        """The states that the execution of a run went through."""
        sfn = self.local.cloud.client("stepfunctions")
        machines = {each["name"]: each["stateMachineArn"] for each in sfn.list_state_machines()["stateMachines"]}
        arn = machines[state_machine_name(ENVIRONMENT, "piped")].replace(":stateMachine:", ":execution:")
        events = sfn.get_execution_history(executionArn=f"{arn}:{execution_name(run, 1)}")["events"]
        return [each["stateEnteredEventDetails"]["name"] for each in events if "stateEnteredEventDetails" in each]


@pytest.fixture(scope="module")
def world(local: Local) -> Iterator[Piped]:
    with stand_ins("imported", entries=ENTRIES, error_rate=0.0) as serving:
        yield Piped(local, serving)


def test_a_changed_file_takes_four_steps_and_an_unchanged_one_none(world: Piped) -> None:
    before = world.calls
    world.put(b"1")
    done = world.run()
    assert (done["state"], done["clean"], done["total"]) == ("complete", True, STEPS)
    imported = world.local.completed(world.import_of(done["run"]))
    assert (imported["clean"], imported["total"]) == (True, ENTRIES)
    assert world.history(done["run"]).count("Start imported") == 1
    assert f"done/{done['run']}" in world.files.keys("done/")
    again = world.run()
    assert (again["state"], again["reason"]) == ("skipped", "the file has not changed")
    assert again["outcomes"]["cancelled"] == STEPS - 1
    assert world.calls == before + ENTRIES
    world.put(b"2")
    assert world.run()["state"] == "complete"
    assert world.calls == before + 2 * ENTRIES


def test_a_step_that_fails_ends_the_pipeline_and_a_redrive_goes_on_with_it(world: Piped) -> None:
    before = world.calls
    world.put(piped.BROKEN)
    failed = world.run()
    assert (failed["state"], failed["clean"]) == ("complete", False)
    outcomes = {key: (each.outcome, each.reason) for key, each in world.local.failures(failed["run"]).items()}
    assert outcomes.keys() == {"read", "imported", "write-down"}
    assert outcomes["read"][0] is Outcome.FAILED
    assert outcomes["imported"] == (Outcome.CANCELLED, "read ended failed")
    assert world.calls == before
    world.put(b"3")
    world.local.cloud.redrive("piped", world.local.record(failed["run"]), Redrive())
    second = world.local.completed(failed["run"])
    while second["generation"] == 1:
        second = next(each for each in reversed(world.local.cloud.announcements(1)) if each["run"] == failed["run"])
    assert (second["clean"], second["total"]) == (True, STEPS - 1)
    assert world.calls == before + ENTRIES
