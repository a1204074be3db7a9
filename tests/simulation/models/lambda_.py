"""Lambda, as the engine calls it: asynchronous invocations, handed to whoever drives the simulation."""

import json
from collections.abc import Callable
from typing import Any

from tests.simulation.models.refusals import ResourceNotFoundException, refusal

#: Called with an event once it was accepted.
Function = Callable[[dict[str, Any]], None]


class Lambda:
    """The service, with the functions that can be invoked by name."""

    exceptions = None

    def __init__(self) -> None:
        self.functions: dict[str, Function] = {}

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        if InvocationType != "Event":
            raise NotImplementedError("only asynchronous invocations are modelled")
        if FunctionName not in self.functions:
            raise refusal("ResourceNotFoundException", "Invoke", kind=ResourceNotFoundException, status=404)
        self.functions[FunctionName](json.loads(Payload))
        return {"StatusCode": 202}
