"""What was synthesized, and which of it MiniStack takes."""

import json
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tools.local_cloud.ministack import PYTHON

METRIC_ALARM = "AWS::CloudWatch::Alarm"
#: Its own table of what its CloudFormation makes.
_TAKEN = """
import json
from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS
print(json.dumps(sorted(_RESOURCE_HANDLERS)))
"""


def taken_types() -> frozenset[str]:
    """The resource types of which the installed MiniStack says that it can make them."""
    done = subprocess.run([str(PYTHON), "-c", _TAKEN], capture_output=True, text=True, check=True)
    return frozenset(json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True, slots=True)
class Assembly:
    """The templates, by the name of their stack."""

    templates: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The assembly in the CDK's output folder."""
        artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
        stacks = {name: each for name, each in artifacts.items() if each["type"] == "aws:cloudformation:stack"}
        return cls({
            name: json.loads((folder / each["properties"]["templateFile"]).read_text())
            for name, each in sorted(stacks.items())
        })  # fmt: skip

    def types(self, *stacks: str) -> frozenset[str]:
        """Of the resources in `stacks`."""
        return frozenset(
            resource["Type"] for stack in stacks for resource in self.templates[stack].get("Resources", {}).values()
        )

    def not_taken(self, stack: str, types: Collection[str]) -> dict[str, str]:
        """Logical id -> type of those resources of `stack` on which MiniStack, which takes `types`, would fail."""
        return {
            id_: resource["Type"]
            for id_, resource in self.templates[stack].get("Resources", {}).items()
            if resource["Type"] not in types or _is_computed(resource)
        }

    def taken(self, types: Collection[str]) -> list[str]:
        """The stacks without any such resource."""
        return [stack for stack in self.templates if not self.not_taken(stack, types)]


def _is_computed(resource: Mapping[str, Any]) -> bool:
    """An alarm on an expression. MiniStack takes alarms on one metric only, and fails the stack of any other."""
    return resource["Type"] == METRIC_ALARM and "Metrics" in resource.get("Properties", {})
