"""What a test orders while the stand-ins run."""

from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tools.stand_ins.options import Seconds


class Order(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    #: The stand-in that it is for; both without it.
    of: Literal["target", "bank"] | None = None


class OutageOrder(Order):
    """Be down from now on; 0 seconds end an outage."""

    seconds: Seconds


class CredentialsOrder(Order):
    """Accept credentials again."""


AnyOrder = TypeVar("AnyOrder", bound=Order)


def parse(kind: type[AnyOrder], body: bytes) -> AnyOrder | None:
    """The order in a body of JSON, an empty one being `{}`; nothing if it is none."""
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError:
        return None
