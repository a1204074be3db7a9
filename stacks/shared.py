"""The environment's ledger, manifests and bus, as its other stacks see them."""

from collections.abc import Sequence

from aws_cdk import Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_s3 as s3
from constructs import Construct

from rollcall.core import names
from rollcall.core.settings import Settings
from stacks.environment import Environment
from stacks.function import Function

#: What the adapters ask of the ledger: reads by key, and conditional changes of single items.
ITEM_ACTIONS = ("dynamodb:BatchGetItem", "dynamodb:UpdateItem")
#: New runs are put. A transaction has no action of its own; its parts' are what it takes.
RUN_ACTIONS = (*ITEM_ACTIONS, "dynamodb:PutItem")


class Shared(Construct):
    """By name, not by reference: no stack holds on to another's outputs, so each can be changed alone."""

    def __init__(self, scope: Construct, id_: str, *, environment: Environment) -> None:
        super().__init__(scope, id_)
        stack = Stack.of(self)
        self.table = dynamodb.Table.from_table_name(self, "Table", names.ledger_name(environment.name))
        self.manifests = s3.Bucket.from_bucket_name(
            self, "Manifests", names.manifests_name(environment.name, stack.account, stack.region)
        )
        self.bus = events.EventBus.from_event_bus_name(self, "Bus", names.bus_name(environment.name))
        self.settings = Settings(
            environment=environment.name,
            ledger=self.table.table_name,
            manifests=self.manifests.bucket_name,
            bus=self.bus.event_bus_name,
        )

    def allow_reading(self, function: Function, keys: Sequence[str]) -> None:
        """Let `function` read the ledger's items whose keys match one of `keys`."""
        self._allow(function, ("dynamodb:BatchGetItem",), keys)

    def allow_items(self, function: Function, keys: Sequence[str] = ()) -> None:
        """Let `function` read and change the ledger's items whose keys match one of `keys`; without these, all."""
        self._allow(function, ITEM_ACTIONS, keys)

    def allow_runs(self, function: Function, keys: Sequence[str] = ()) -> None:
        """Let `function` begin runs too."""
        self._allow(function, RUN_ACTIONS, keys)

    def _allow(self, function: Function, actions: Sequence[str], keys: Sequence[str]) -> None:
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
        leading = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(keys)}} if keys else {}
        function.allow(actions, self.table.table_arn, conditions=leading)

    def allow_objects(self, function: Function, key: str, *actions: str, because: str) -> None:
        """Let `function` do `actions` on the objects of the manifest bucket whose keys match `key`."""
        function.allow(actions, self.manifests.arn_for_objects(key), because=because)

    def allow_announcing(self, function: Function) -> None:
        """Let `function` put events on the environment's bus."""
        function.allow(["events:PutEvents"], self.bus.event_bus_arn)
