"""The clients of stories that are told on the simulation's models."""

from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import boto3

from tests.simulation.models.gate import Client
from tests.simulation.models.plain import PlainDynamoDB
from tests.simulation.models.services import Services, SimulatedClients
from tests.simulation.models.sqs import ACCOUNT
from tools.local_cloud.isolation import REGION


class Sts:
    """Names the account of the credentials."""

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": ACCOUNT}


class ModelClients(SimulatedClients):
    """Clients of new models behind one gate; `now` is their time, in seconds since 1970."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.services = Services.new(now, {})
        # Stories call the functions of state machines themselves, in their own order.
        self.services.stepfunctions.launch = _not_executed
        super().__init__(self.services)
        gate = self.services.gate
        self._session = cast(boto3.Session, SimpleNamespace(region_name=REGION))
        self._made["sts"] = Client("sts", Sts(), gate, "")
        self._made["tables"] = PlainDynamoDB(Client("dynamodb", self.services.dynamodb, gate, ""))


def _not_executed(execution: Coroutine[Any, Any, None]) -> None:
    execution.close()
