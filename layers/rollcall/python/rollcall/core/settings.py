"""The environment contract: the stack writes it, the handler parses it, both through this one class.

Pydantic checks it, and is imported when that is done: importing a handler costs as little as it can.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

from rollcall.core.errors import RollcallError
from rollcall.core.target import Location
from rollcall.core.values import Json, canonical

PREFIX = "ROLLCALL_"
#: Fields whose variable holds JSON.
_JSON = frozenset({"target", "reports", "buckets", "schedules_enabled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the cloud decides about a function."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    #: The name of the deployment: dev, staging, prod, local.
    environment: str
    #: The ledger's table.
    ledger: str
    #: The bucket of manifests.
    manifests: str
    #: The event bus of announcements.
    bus: str
    #: The job's module and queue, for functions that serve one job.
    job_module: str | None = None
    queue_url: str | None = None
    #: The ARN of the job's state machine, where it is delivered in batches.
    state_machine: str | None = None
    #: Where this environment binds the job's target and reports.
    target: Location | None = None
    reports: dict[str, Location] = field(default_factory=dict)
    #: The names of the buckets that the job needs, by what it calls them.
    buckets: dict[str, str] = field(default_factory=dict)
    #: For the watchdog: whether jobs are started by their schedules here, so that an occurrence may be missed.
    schedules_enabled: bool = False

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        """The settings in `environ`, by default the process's. Raises RollcallError naming what is wrong."""
        from pydantic import TypeAdapter, ValidationError

        variables = os.environ if environ is None else environ
        found = {name.removeprefix(PREFIX).lower(): text for name, text in variables.items() if name.startswith(PREFIX)}
        empty = sorted(name for name, text in found.items() if not text and name not in _JSON)
        if empty:
            raise RollcallError(
                f"the function's stack left {', '.join(f'{PREFIX}{name}'.upper() for name in empty)} empty"
            )
        values = {name: _parsed(name, text) if name in _JSON else text for name, text in found.items()}
        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            faults = "; ".join(f"{PREFIX}{fault['loc'][0]!s}".upper() + f": {fault['msg']}" for fault in error.errors())
            raise RollcallError(
                f"the environment is not what the function's stack should have written: {faults}"
            ) from error

    def to_environ(self) -> dict[str, str]:
        """The variables that `from_environ` reads; fields without a value are left out."""
        from pydantic import TypeAdapter

        fields = TypeAdapter(Settings).dump_python(self, mode="json", exclude_none=True, exclude_defaults=True)
        return {
            f"{PREFIX}{name.upper()}": canonical(value) if name in _JSON else value for name, value in fields.items()
        }


def _parsed(name: str, text: str) -> Json:
    try:
        value: Json = json.loads(text)
    except ValueError as error:
        raise RollcallError(f"{PREFIX}{name.upper()} should hold JSON and does not: {error}") from error
    return value


def required(value: str | None, name: str) -> str:
    """`value`, or RollcallError where this function's environment lacks it."""
    if value is None:
        raise RollcallError(f"the function's environment lacks {PREFIX}{name.upper()}; its stack must set it")
    return value
