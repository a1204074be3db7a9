"""The definition of every state machine: valid without asking AWS, and drawn in the documentation as it is."""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import pytest
from cfnlint.api import lint_all  # type: ignore[import-untyped]

from rollcall import Batches
from rollcall.core.batches import definition
from tests.stacks.cloud import Cloud
from tests.stacks.deployed import ROOT
from tools.drawings.mermaid import flowchart
from tools.drawings.state_machines import PAGE, StateMachine, definition_of, page, state_machines

GOOD = definition(Batches(), "${BatchFunction}")
ROLE = "arn:aws:iam::111122223333:role/batches"


def objections(machine: Mapping[str, Any]) -> list[str]:
    """What cfn-lint says of a definition that stands as text in a template, as ours do."""
    properties = {
        "DefinitionString": json.dumps(machine),
        "DefinitionSubstitutions": {"BatchFunction": "arn:aws:lambda:eu-west-1:111122223333:function:batch"},
        "RoleArn": ROLE,
    }
    resources = {"Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}
    found = lint_all(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}))
    # I is for information, of which there is some about any template.
    return [f"{each.rule.id}: {each.message}" for each in found if not each.rule.id.startswith("I")]


def machines(cloud: Cloud) -> list[StateMachine]:
    return list(state_machines(cloud.templates.values()))


def test_every_job_in_batches_has_a_state_machine(cloud: Cloud) -> None:
    batched = {each.job.name for each in cloud.jobs if each.job.delivery is not None}
    prefix = f"rollcall-{cloud.environment.name}-"
    assert {each.name for each in machines(cloud)} >= {f"{prefix}{job}-batches" for job in batched}


def test_every_definition_is_valid(cloud: Cloud) -> None:
    for machine in machines(cloud):
        assert objections(machine.definition) == []
        assert dangling(machine.definition) == []


def _inner(machine: dict[str, Any]) -> dict[str, Any]:
    states: dict[str, Any] = machine["States"]["Slices"]["ItemProcessor"]["States"]
    return states


BROKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "it starts nowhere": lambda machine: machine.update(StartAt="Nowhere"),
    "a type that does not exist": lambda machine: machine["States"]["Slices"].update(Type="Mapp"),
    "a Map of nothing": lambda machine: machine["States"]["Slices"].pop("ItemProcessor"),
    "a Map starts nowhere": lambda machine: machine["States"]["Slices"]["ItemProcessor"].update(StartAt="Nowhere"),
    "a task without a resource": lambda machine: _inner(machine)["Handle the slice"].pop("Resource"),
    "a field that does not exist": lambda machine: _inner(machine)["Handle the slice"].update(Retries=3),
    "a wait for nothing": lambda machine: _inner(machine)["Pause"].pop("SecondsPath"),
    "on to nowhere": lambda machine: _inner(machine)["Pause"].update(Next="Nowhere"),
    "a choice of nowhere": lambda machine: _inner(machine)["Is it settled?"].update(Default="Nowhere"),
    "caught nowhere": lambda machine: _inner(machine)["Handle the slice"]["Catch"][0].update(Next="Nowhere"),
    "never over": lambda machine: _inner(machine)["Done"].pop("End"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_definition_is_found_out(broken: Callable[[dict[str, Any]], object]) -> None:
    """So the test above does look inside, down to the states of a Map."""
    assert objections(GOOD) == dangling(GOOD) == []
    machine = deepcopy(GOOD)
    broken(machine)
    assert objections(machine) or dangling(machine)


def dangling(machine: Mapping[str, Any]) -> list[str]:
    """What cfn-lint does not see within a Map: where it leads nowhere or cannot be reached, and waits for nothing."""
    states, found = machine["States"], list[str]()
    reached, ahead = set[str](), [machine["StartAt"]]
    while ahead:
        name = ahead.pop()
        if name in reached:
            continue
        reached.add(name)
        if name not in states:
            found.append(f"there is no {name!r}")
            continue
        state = states[name]
        ways = [each["Next"] for each in (*state.get("Choices", ()), *state.get("Catch", ()), state) if "Next" in each]
        ways += [state["Default"]] if "Default" in state else []
        if (
            state["Type"] == "Wait"
            and len({"Seconds", "SecondsPath", "Timestamp", "TimestampPath"} & state.keys()) != 1
        ):
            found.append(f"{name!r} waits for nothing, or for two things")
        if not (ways or state.get("End") or state["Type"] in {"Succeed", "Fail"}):
            found.append(f"{name!r} leads nowhere")
        ahead += ways
        for inner in (state.get("ItemProcessor"), *state.get("Branches", ())):
            found += dangling(inner) if inner else []
    return found + [f"{name!r} is never reached" for name in states.keys() - reached]


# --- drawings ---


def test_the_documentation_shows_what_is_deployed(clouds: Mapping[str, Cloud]) -> None:
    drawn = page(machines(clouds["prod"]), "rollcall-prod-")
    assert (ROOT / PAGE).read_text() == drawn, "run make drawings"


def test_every_state_and_every_way_is_in_a_drawing() -> None:
    drawn = flowchart(GOOD)
    for name, state in _inner(dict(GOOD)).items():
        assert f'"{name}' in drawn, state
    assert 's5 -->|"answer.again is true"| s6' in drawn
    assert 's4 -->|"fails: whatever it is"| s8' in drawn
    assert drawn.count("subgraph") == 1


def test_all_types_of_states_can_be_drawn() -> None:
    branch = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 5, "End": True}}}
    callback = "arn:aws:states:::lambda:invoke.waitForTaskToken"
    either = [{"Variable": "$.a", "NumericGreaterThan": 1}, {"Not": {"Variable": "$.b", "IsPresent": True}}]
    drawn = flowchart(
        {
            "StartAt": "Both",
            "States": {
                "Both": {"Type": "Parallel", "Branches": [branch, branch], "Next": 'Ask "them"'},
                'Ask "them"': {"Type": "Task", "Resource": callback, "Next": "Which?"},
                "Which?": {"Type": "Choice", "Choices": [{"Or": either, "Next": "Well"}], "Default": "Badly"},
                "Well": {"Type": "Succeed"},
                "Badly": {"Type": "Fail", "Error": "Refused"},
            },
        }
    )
    assert drawn.count("subgraph") == 1
    assert drawn.count("wait 5 s") == 2
    assert '"Ask &quot;them&quot;<br/>waits for its token"' in drawn
    assert "a &gt; 1 or not (b IsPresent true)" in drawn
    assert '(["Badly<br/>fails: Refused"])' in drawn
    with pytest.raises(ValueError, match="'Odd' is of type 'Odd', which nobody knows how to draw"):
        flowchart({"StartAt": "Odd", "States": {"Odd": {"Type": "Odd"}}})


def test_a_definition_is_read_as_an_object_and_as_text_with_references() -> None:
    joined = {"Fn::Join": ["", ['{"StartAt": "', {"Ref": "Name"}, '"}']]}
    assert definition_of({"DefinitionString": joined}) == {"StartAt": "${…}"}
    assert definition_of({"Definition": {"StartAt": "A"}}) == {"StartAt": "A"}
