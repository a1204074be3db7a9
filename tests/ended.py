"""What a command comes to."""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """The JSON object that is the last line of standard output."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found
