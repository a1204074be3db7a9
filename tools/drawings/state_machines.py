"""The state machines of synthesized templates, and the page that shows them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tools.drawings.mermaid import flowchart

PAGE = "docs/state-machines.md"
_HEAD = """\
# The state machines

Drawn from the definitions in the synthesized templates of `prod`; `make drawings` writes this page, and a test holds it
to the templates. What happens in them: [batches.md](batches.md).
"""


@dataclass(frozen=True, slots=True)
class StateMachine:
    """A state machine as a template has it."""

    name: str
    definition: Mapping[str, Any]


def state_machines(templates: Iterable[Mapping[str, Any]]) -> Iterator[StateMachine]:
    """Those of all templates, by name."""
    found = (
        StateMachine(str(resource["Properties"]["StateMachineName"]), definition_of(resource["Properties"]))
        for template in templates
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::StepFunctions::StateMachine"
    )
    yield from sorted(found, key=lambda machine: machine.name)


def definition_of(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """What its states are; references in the text are left as `${…}`. Raises ValueError where there is no JSON."""
    if "Definition" in properties:
        definition: Mapping[str, Any] = properties["Definition"]
        return definition
    text = properties["DefinitionString"]
    if not isinstance(text, str):
        glue, parts = text["Fn::Join"]
        text = glue.join(part if isinstance(part, str) else "${…}" for part in parts)
    parsed: Mapping[str, Any] = json.loads(text)
    return parsed


def page(machines: Iterable[StateMachine], prefix: str) -> str:
    """Markdown with a drawing of each; `prefix` is left out of their names."""
    drawn = (
        f"\n## {machine.name.removeprefix(prefix)}\n\n{_said(machine)}```mermaid\n{flowchart(machine.definition)}```\n"
        for machine in machines
    )
    return _HEAD + "".join(drawn)


def _said(machine: StateMachine) -> str:
    comment = machine.definition.get("Comment")
    return f"{comment}.\n\n" if comment else ""
