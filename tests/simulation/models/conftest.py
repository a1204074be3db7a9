"""The same stories on the models, on moto and on MiniStack, with one clock for all of them."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from rollcall.adapters.clients import CONFIG
from tests.simulation.models.emulated import MovedMiniStack, moved_ministack
from tests.simulation.models.stories import SERVICES, Side, StoryClock, emulated_side, make_table, model_side
from tests.simulation.models.story_functions import served_functions
from tools.local_cloud.isolation import REGION


@pytest.fixture(scope="session")
def nobodys_account() -> Iterator[None]:
    """An environment that knows no account and no profile."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_CONFIG_FILE", "/dev/null")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="session")
def story_functions() -> Iterator[str]:
    """Where the functions of stories are invoked."""
    with served_functions() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def moto_clients(nobodys_account: None) -> dict[str, Any]:  # noqa: ARG001 - must come first
    session = boto3.Session("dummy", "dummy", region_name=REGION)
    # moto does not know the endpoints of streams that have an account in their names.
    config = CONFIG.merge(Config(account_id_endpoint_mode="disabled"))
    return {name: session.client(name, config=config) for name in SERVICES}  # type: ignore[call-overload]


@pytest.fixture(scope="session")
def ministack_process(
    nobodys_account: None,  # noqa: ARG001 - must come first
    tmp_path_factory: pytest.TempPathFactory,
    story_functions: str,
) -> Iterator[MovedMiniStack]:
    """One for all stories: each makes what it needs, under names of its own."""
    with moved_ministack(tmp_path_factory.mktemp("ministack"), story_functions) as process:
        yield process


@pytest.fixture(scope="session")
def ministack_clients(ministack_process: MovedMiniStack) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        clients = {name: ministack_process.client(name) for name in SERVICES}
        for client in clients.values():
            stack.callback(client.close)
        make_table(clients["dynamodb"])
        yield clients


@pytest.fixture
def clock() -> StoryClock:
    return StoryClock()


@pytest.fixture
def model(clock: StoryClock) -> Side:
    return model_side(clock)


@pytest.fixture(scope="module")
def mocked(moto_clients: dict[str, Any]) -> Iterator[dict[str, Any]]:
    with mock_aws():
        make_table(moto_clients["dynamodb"])
        yield moto_clients


@pytest.fixture
def moto(mocked: dict[str, Any], clock: StoryClock, monkeypatch: pytest.MonkeyPatch) -> Side:
    monkeypatch.setattr("moto.sqs.models.unix_time", lambda: clock.seconds)
    monkeypatch.setattr("moto.sqs.models.unix_time_millis", lambda: clock.seconds * 1_000)
    return emulated_side("moto", mocked)


@pytest.fixture
def ministack(ministack_process: MovedMiniStack, ministack_clients: dict[str, Any], clock: StoryClock) -> Side:
    ministack_process.tell(clock.seconds)
    clock.on_change.append(ministack_process.tell)
    return emulated_side("ministack", ministack_clients)


@pytest.fixture(params=["model", "moto", "ministack"])
def side(request: pytest.FixtureRequest) -> Side:
    """First the model, then the emulators."""
    found: Side = request.getfixturevalue(request.param)
    return found
