"""Where a running local cloud answers, and the keys that open it."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import boto3
import botocore.session
from botocore.config import Config

from rollcall.adapters.clients import CONFIG
from tools.local_cloud.counting import Requests
from tools.local_cloud.isolation import REGION
from tools.loopback import Keys


@dataclass(frozen=True)
class Address:
    """The two endpoints of a local cloud."""

    #: Of every AWS service but Lambda.
    services: str
    #: Of Lambda's Invoke.
    functions: str
    keys: Keys

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address that `text` wrote. Raises ValueError for anything else."""
        try:
            fields = json.loads(text)
            return cls(fields["services"], fields["functions"], Keys(**fields["keys"]))
        except (KeyError, TypeError) as error:
            raise ValueError("it is not the address of a local cloud") from error

    def text(self) -> str:
        """Return it as JSON. It contains the keys, so only a private file may hold it."""
        return json.dumps(asdict(self))

    @cached_property
    def _session(self) -> boto3.Session:
        return session(self.keys)

    def client(self, service: str, config: Config = CONFIG) -> Any:
        """Return a boto3 client of a service; its requests are not counted."""
        endpoint = self.functions if service == "lambda" else self.services
        return self._session.client(service, endpoint_url=endpoint, config=config)  # type: ignore[call-overload]

    @cached_property
    def tables(self) -> Any:
        """A DynamoDB client that takes and returns Python values."""
        return self._session.resource("dynamodb", endpoint_url=self.services, config=CONFIG).meta.client


def session(keys: Keys, requests: Requests | None = None) -> boto3.Session:
    """Return a session with these keys, whose requests are counted in `requests`."""
    below = botocore.session.Session()
    if requests is not None:
        requests.attach(below)
    return boto3.Session(
        botocore_session=below,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        region_name=REGION,
    )
