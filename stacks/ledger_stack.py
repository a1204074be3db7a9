"""The stack of an environment's data."""

from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_events as events
from constructs import Construct

from rollcall.core import names
from stacks.environment import Environment
from stacks.ledger import Ledger
from stacks.manifests import Manifests


class LedgerStack(Stack):
    """What outlives functions and queues: ledger, manifests and the bus that others subscribe to."""

    def __init__(self, scope: Construct, id_: str, *, environment: Environment, **stack: Any) -> None:
        super().__init__(scope, id_, **stack)
        self.ledger = Ledger(self, "Ledger", environment=environment)
        self.manifests = Manifests(self, "Manifests", environment=environment)
        self.bus = events.EventBus(self, "Bus", event_bus_name=names.bus_name(environment.name))
