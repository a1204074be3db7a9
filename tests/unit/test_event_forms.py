"""Events: the forms that release 0.1.0 takes, to the field, and nothing beside them."""

from typing import Any

import pytest

from rollcall.core.errors import RollcallError
from rollcall.core.event_forms import FAN_OUT_FORMS, SLICE_FORMS, STEP_FORMS, Forms, form_of
from rollcall.engine.batch.batch_handler import Slice
from rollcall.engine.batch.pipeline_steps import Wanted
from rollcall.engine.fan_out.run_lease import request_of
from tests.releases.files import releases

#: What release 0.1.0 takes, which no later version may widen: an older one would act on half of such an event.
FROZEN = {
    "scheduled_time": {"job", "nonce", "params", "tick_seconds"},
    "resume": {"job"},
    "repair": {"job"},
    "redrive": {"job", "generation", "outcomes", "errors", "keys", "new_key"},
    "slice": {"run", "generation", "answer"},
    "step": {"run", "generation", "token"},
}
FORMS: Forms = {**FAN_OUT_FORMS, **SLICE_FORMS, **STEP_FORMS}
START = {"job": "pay", "scheduled_time": "2026-11-21T02:30:00Z"}
RUN = "pay-20261121T023000Z"
SLICE = {"run": RUN, "generation": 1, "slice": 0}
STEP = {"run": RUN, "generation": 1, "step": "look"}


@pytest.mark.parametrize("form", FROZEN)
def test_a_form_of_0_1_0_stays_as_it_is(form: str) -> None:
    assert FORMS[form] == FROZEN[form]


def test_a_new_form_has_one_field() -> None:
    assert {form: others for form, others in FORMS.items() if form not in FROZEN and others} == {}


def test_recorded_events_have_every_field_of_0_1_0() -> None:
    """So that no field is frozen which nobody sends."""
    (release,) = (each for each in releases() if each.version == "0.1.0")
    sent = [each["event"] for each in release.read("events.json")]
    found = {form: {name for event in sent if form in event for name in event} - {form} for form in FROZEN}
    assert found == FROZEN


@pytest.mark.parametrize(
    ("event", "told"),
    [
        pytest.param({"plan": {"job": "pay"}}, "'plan'", id="a new request"),
        pytest.param({"plan": None}, "'plan'", id="a new request without anything"),
        pytest.param({**START, "plan": {}}, "'plan'", id="a new request in a start"),
        pytest.param({**START, "dry_run": True}, "'dry_run'", id="a new field of a start"),
        pytest.param({**START, "Params": {}}, "'Params'", id="another spelling"),
        pytest.param({"resume": RUN, "fast": True}, "'fast'", id="a new field of a resume"),
        pytest.param({"repair": RUN, "generation": 2}, "'generation'", id="a field of another form"),
        pytest.param({"redrive": RUN, "generation": 1, "nonce": "a"}, "'nonce'", id="a start's field in a redrive"),
        pytest.param({**START, "tick_seconds": 15, "a": 1, "b": 2}, "'a', 'b'", id="two new fields"),
        pytest.param({"resume": RUN, "repair": RUN}, "2 of scheduled_time, resume, repair, redrive", id="two requests"),
        pytest.param({**START, "resume": RUN}, "2 of", id="a start and a resume"),
        pytest.param({"job": "pay"}, "none of", id="no request"),
        pytest.param({}, "none of", id="nothing"),
        pytest.param([START], "not a JSON object", id="a list"),
        pytest.param("resume", "not a JSON object", id="a text with a form's name"),
        pytest.param(None, "not a JSON object", id="null"),
    ],
)
def test_fan_out_refuses_an_event_of_another_form(event: Any, told: str) -> None:
    with pytest.raises(RollcallError, match="the event ") as refused:
        request_of(event)
    assert told in str(refused.value)


@pytest.mark.parametrize("event", [{"plan": {}}, {**SLICE, "plan": {}}, {**SLICE, "token": "t"}, STEP, START, {}])
def test_a_batch_function_refuses_an_event_that_is_no_slice(event: Any) -> None:
    with pytest.raises(RollcallError, match="the event has"):
        Slice.of(event)


@pytest.mark.parametrize("event", [{"plan": {}}, {**STEP, "plan": {}}, {**STEP, "answer": {}}, SLICE, START, {}])
def test_a_pipelines_function_refuses_an_event_that_is_no_step(event: Any) -> None:
    with pytest.raises(RollcallError, match="the event has"):
        Wanted.of(event)


def test_a_refusal_names_fields_and_no_values_and_is_short() -> None:
    event = {**START, "x" * 10_000: "hunter2", **{f"field{number}": "hunter2" for number in range(100)}}
    with pytest.raises(RollcallError) as refused:
        form_of(event, FAN_OUT_FORMS)
    assert "hunter2" not in str(refused.value)
    assert "deploy the version that the sender has" in str(refused.value)
    assert len(str(refused.value)) < 500
