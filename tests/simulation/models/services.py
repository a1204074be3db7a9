"""All simulated services of one cloud, and the clients by which an execution environment reaches them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollcall.adapters.clients import Clients
from tests.simulation.models.dynamodb import DynamoDB
from tests.simulation.models.events import Events
from tests.simulation.models.gate import Client, Gate
from tests.simulation.models.lambda_ import Lambda
from tests.simulation.models.plain import PlainDynamoDB
from tests.simulation.models.s3 import S3
from tests.simulation.models.secretsmanager import SecretsManager
from tests.simulation.models.sqs import Sqs
from tests.simulation.models.stepfunctions import StepFunctions

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


#: What is asked of tables is asked of DynamoDB, in another form.
_SERVICES = {"tables": "dynamodb"}


@dataclass(frozen=True, slots=True)
class Services:
    """The models, and the gate before them."""

    gate: Gate
    dynamodb: DynamoDB
    sqs: Sqs
    s3: S3
    events: Events
    lambda_: Lambda
    secretsmanager: SecretsManager
    stepfunctions: StepFunctions

    @classmethod
    def new(
        cls,
        now: Callable[[], float],
        tables: Mapping[str, str],
        secrets: Mapping[str, str] | None = None,
        *,
        scatter: int = 0,
        seed: int = 0,
    ) -> "Services":
        """Empty ones, whose time is `now`, in seconds since 1970; tables by name with their hash key."""
        return cls(
            Gate(),
            DynamoDB(now, tables),
            Sqs(now, scatter=scatter, seed=seed),
            S3(),
            Events(),
            Lambda(),
            SecretsManager(secrets),
            StepFunctions(now, seed),
        )


class SimulatedClients(Clients):
    """The clients of one execution environment."""

    def __init__(self, services: Services, origin: str = "") -> None:
        models = {
            "dynamodb": services.dynamodb,
            "tables": PlainDynamoDB(services.dynamodb),
            "sqs": services.sqs,
            "s3": services.s3,
            "events": services.events,
            "lambda": services.lambda_,
            "secretsmanager": services.secretsmanager,
            "stepfunctions": services.stepfunctions,
        }
        self._made = {
            name: Client(_SERVICES.get(name, name), model, services.gate, origin) for name, model in models.items()
        }

    @property
    def tables(self) -> "DynamoDBClient":
        return self._client("tables")  # type: ignore[return-value]

    def _client(self, service: str) -> object:
        return self._made[service]
