"""boto3 clients: made on first use, with bounded waits, from the default credential chain."""

from threading import Lock
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rollcall.core.errors import class_and_place, is_own_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

#: The longest that one request may take, its retries included, is about 3 times 8 s and pauses: below the
#: last 30 seconds of a lease, in which nothing is sent.
CONFIG = Config(
    connect_timeout=2,
    read_timeout=6,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=16,
    tcp_keepalive=True,
    # A quarter of a request's CPU time: the user agent is else put together anew for each, and every parameter is
    # checked against the service's model, which the types have done.
    user_agent="rollcall",
    parameter_validation=False,
)


#: What a request to AWS fails with, once the SDK's own retries are used up.
AWS_ERRORS = (ClientError, BotoCoreError)


#: Errors of a group that are described, of which a failing watchdog raises one for each step.
MOST_WORDS = 20


def words_of(error: BaseException) -> str:
    """Describe an error for logs and for whoever invoked: Rollcall's own text, AWS's code, or class and place.

    Texts of other errors are left out, for they quote what they were about: payloads, keys, answers, URLs.
    """
    if isinstance(error, BaseExceptionGroup):
        return f"{class_and_place(error)}: {'; '.join(map(words_of, error.exceptions[:MOST_WORDS]))}"
    if isinstance(error, ClientError):
        return f"{error.operation_name}: {error.response.get('Error', {}).get('Code', 'no code')}"
    if isinstance(error, BotoCoreError):
        return type(error).__name__
    return str(error) if is_own_text(error) else class_and_place(error)


class Clients:
    """One boto3 session and its clients, each made when it is first asked for. Clients are safe between threads."""

    def __init__(self, session: boto3.Session | None = None) -> None:
        self._session = session or boto3.Session()
        self._made: dict[str, object] = {}
        # A session is not safe between threads, and plain callbacks ask from theirs.
        self._making = Lock()

    def _client(self, service: str) -> object:
        with self._making:
            if service not in self._made:
                self._made[service] = self._session.client(service, config=CONFIG)  # type: ignore[call-overload]
            return self._made[service]

    @property
    def region(self) -> str | None:
        """The region that the clients are of; None where nobody has set one."""
        return self._session.region_name

    def account(self) -> str:
        """The account of the credentials; asking takes no permission."""
        return str(self._client("sts").get_caller_identity()["Account"])  # type: ignore[attr-defined]

    @property
    def tables(self) -> "DynamoDBClient":
        """DynamoDB with Python values in place of typed attributes, for the tables of jobs."""
        with self._making:
            if "tables" not in self._made:
                self._made["tables"] = self._session.resource("dynamodb", config=CONFIG).meta.client
            return self._made["tables"]  # type: ignore[return-value]

    @property
    def dynamodb(self) -> "DynamoDBClient":
        return self._client("dynamodb")  # type: ignore[return-value]

    @property
    def sqs(self) -> "SQSClient":
        return self._client("sqs")  # type: ignore[return-value]

    @property
    def s3(self) -> "S3Client":
        return self._client("s3")  # type: ignore[return-value]

    @property
    def events(self) -> "EventBridgeClient":
        return self._client("events")  # type: ignore[return-value]

    @property
    def secretsmanager(self) -> "SecretsManagerClient":
        return self._client("secretsmanager")  # type: ignore[return-value]

    @property
    def lambda_(self) -> "LambdaClient":
        return self._client("lambda")  # type: ignore[return-value]

    @property
    def stepfunctions(self) -> Any:
        return self._client("stepfunctions")
