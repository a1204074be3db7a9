"""The environment contract: the stack writes it, the handler parses it, both through this one class."""

import json
import os
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rollcall.core.errors import RollcallError
from rollcall.core.target import Location
from rollcall.core.values import Json, canonical

PREFIX = "ROLLCALL_"
#: Fields whose variable holds JSON.
_JSON = frozenset({"target", "reports"})


class Settings(BaseModel):
    """What the cloud decides about a function."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: The name of the deployment: dev, staging, prod, local.
    environment: str = Field(min_length=1)
    #: The ledger's table.
    ledger: str = Field(min_length=1)
    #: The bucket of manifests.
    manifests: str = Field(min_length=1)
    #: The event bus of announcements.
    bus: str = Field(min_length=1)
    #: The job's module and queue, for functions that serve one job.
    job_module: str | None = None
    queue_url: str | None = None
    #: Where this environment binds the job's target and reports.
    target: Location | None = None
    reports: dict[str, Location] = Field(default_factory=dict)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        """The settings in `environ`, by default the process's. Raises RollcallError naming what is wrong."""
        variables = os.environ if environ is None else environ
        found = {name.removeprefix(PREFIX).lower(): text for name, text in variables.items() if name.startswith(PREFIX)}
        values = {name: _parsed(name, text) if name in _JSON else text for name, text in found.items()}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = "; ".join(f"{PREFIX}{fault['loc'][0]!s}".upper() + f": {fault['msg']}" for fault in error.errors())
            raise RollcallError(
                f"the environment is not what the function's stack should have written: {faults}"
            ) from error

    def to_environ(self) -> dict[str, str]:
        """The variables that `from_environ` reads; fields without a value are left out."""
        fields = self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
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
