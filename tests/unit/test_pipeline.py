"""How a pipeline is declared, and the state machine that it becomes."""

from datetime import timedelta
from typing import Any

import pytest

from rollcall import DeclarationError, Pipeline, Run, Task, by_hand
from rollcall.core.pipeline import LONGEST_TASK, LOOKS_AFTER, MOST_STEPS, definition
from tests.unit.jobs import DUE

FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:batch"


def a_pipeline(*steps: str, fan_outs: tuple[str, ...] = ()) -> Pipeline:
    """Steps of these names; those among `fan_outs` are runs."""
    pipeline = Pipeline("nightly", schedule=by_hand())
    for step in steps:
        if step in fan_outs:
            pipeline.fan_out(step)
        else:
            pipeline.task(step)(nothing)
    return pipeline


def nothing(_: Task) -> None:
    """A task."""


def states(pipeline: Pipeline) -> dict[str, Any]:
    found: Any = definition(pipeline, FUNCTION)["States"]
    return dict(found)


def test_steps_are_entries_in_their_order() -> None:
    pipeline = a_pipeline("look", "import-things", "finish", fan_outs=("import-things",))
    run = Run("nightly-20261121T023000Z", "nightly", DUE)
    assert [entry.key for entry in pipeline.entries(run)] == ["look", "import-things", "finish"]
    assert pipeline.fan_outs == ("import-things",)


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(DeclarationError, match="two steps named look"):
        a_pipeline("look", "look")


@pytest.mark.parametrize("name", ["", "Look", "look up", "a" * 41])
def test_a_step_has_a_name_that_a_job_could_have(name: str) -> None:
    with pytest.raises(DeclarationError, match="step name"):
        a_pipeline(name)


def test_a_task_takes_one_parameter() -> None:
    pipeline = a_pipeline()
    with pytest.raises(DeclarationError, match="one parameter"):
        pipeline.task("look")(lambda: None)  # type: ignore[type-var]


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_between_none_and_all(share: float) -> None:
    with pytest.raises(DeclarationError, match="a share is 0 to 1"):
        a_pipeline().fan_out("import-things", at_least=share)


@pytest.mark.parametrize("steps", [0, MOST_STEPS + 1])
def test_a_pipeline_has_steps_and_not_too_many(steps: int) -> None:
    with pytest.raises(DeclarationError, match=f"has {steps} steps"):
        a_pipeline(*(f"step-{number}" for number in range(steps))).check_complete()


def test_a_task_that_takes_longer_than_a_call_may_is_refused() -> None:
    with pytest.raises(DeclarationError, match="takes 0:05:00 at most"):
        Pipeline("nightly", schedule=by_hand(), timeout=LONGEST_TASK + timedelta(seconds=1))


def test_the_machine_begins_with_the_first_step_and_every_state_leads_to_one_that_there_is() -> None:
    pipeline = a_pipeline("look", "import-things", "finish", fan_outs=("import-things",))
    found = states(pipeline)
    assert definition(pipeline, FUNCTION)["StartAt"] == "look"
    led_to = {"look"}
    for state in found.values():
        led_to |= {state[field] for field in ("Next", "Default") if field in state}
        led_to |= {branch["Next"] for field in ("Choices", "Catch") for branch in state.get(field, ())}
    assert led_to == found.keys()


def test_a_machine_may_begin_with_a_run() -> None:
    assert definition(a_pipeline("import-things", fan_outs=("import-things",)), FUNCTION)["StartAt"] == (
        "Start import-things"
    )


def test_a_task_is_handled_again_after_the_wait_that_its_function_answers() -> None:
    found = states(a_pipeline("look", "finish"))
    assert found["look"]["Parameters"]["Payload"] == {
        "run.$": "$.run",
        "generation.$": "$.generation",
        "step": "look",
    }
    assert found["look"]["Next"] == "Is look settled?"
    (again,) = found["Is look settled?"]["Choices"]
    assert (again["Variable"], again["Next"]) == ("$.answer.again", "Wait for look")
    assert (found["Wait for look"]["SecondsPath"], found["Wait for look"]["Next"]) == ("$.answer.wait_seconds", "look")
    assert found["Is look settled?"]["Default"] == "finish"


def test_a_run_is_started_with_a_token_and_judged_whatever_wakes_the_machine() -> None:
    found = states(a_pipeline("import-things", fan_outs=("import-things",)))
    start = found["Start import-things"]
    assert start["Resource"] == "arn:aws:states:::lambda:invoke.waitForTaskToken"
    assert start["Parameters"]["Payload"]["token.$"] == "$$.Task.Token"
    assert start["TimeoutSeconds"] == LOOKS_AFTER.total_seconds()
    assert start["Next"] == "import-things"
    (caught,) = start["Catch"]
    assert (caught["ErrorEquals"], caught["Next"]) == (["States.ALL"], "import-things")
    assert "token.$" not in found["import-things"]["Parameters"]["Payload"]
    assert found["Wait for import-things"]["Next"] == "Start import-things"


def test_only_what_lambda_itself_fails_with_starts_a_run_again() -> None:
    """The failure of the run comes through the token, and is no reason to wait anew."""
    start = states(a_pipeline("import-things", fan_outs=("import-things",)))["Start import-things"]
    (retry,) = start["Retry"]
    assert all(error.startswith("Lambda.") for error in retry["ErrorEquals"])


def test_the_input_goes_along_unchanged() -> None:
    """Each step names run and generation from it."""
    for state in states(a_pipeline("look", "import-things", fan_outs=("import-things",))).values():
        assert state["Type"] != "Task" or state["ResultPath"] in {"$.answer", "$.ended"}
