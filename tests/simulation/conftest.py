"""The same stories on the models and on moto, with one clock for both."""

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from rollcall.adapters.clients import Clients
from tests.simulation.stories import TABLE, Side, StoryClock, model_side, moto_side


@pytest.fixture(scope="session")
def moto_clients() -> Iterator[Clients]:
    """Clients that know no account and no profile."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_CONFIG_FILE", "/dev/null")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield Clients(boto3.Session("dummy", "dummy", region_name="eu-west-1"))


@pytest.fixture
def clock() -> StoryClock:
    return StoryClock()


@pytest.fixture
def model(clock: StoryClock) -> Side:
    return model_side(clock)


@pytest.fixture
def moto(moto_clients: Clients, clock: StoryClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Side]:
    monkeypatch.setattr("moto.sqs.models.unix_time", lambda: clock.seconds)
    monkeypatch.setattr("moto.sqs.models.unix_time_millis", lambda: clock.seconds * 1_000)
    with mock_aws():
        side = moto_side(moto_clients)
        side.dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        )
        yield side


@pytest.fixture(params=["model", "moto"])
def side(request: pytest.FixtureRequest) -> Side:
    """First the model, then moto."""
    found: Side = request.getfixturevalue(request.param)
    return found
