"""What every story needs: no credentials of the user, a clone, and nothing left running."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.clone import BILLS, Clone
from tests.end_to_end.local import Local
from tests.end_to_end.processes import left
from tests.end_to_end.server import Server
from tools.local_cloud.cloud import LocalCloud
from tools.local_cloud.isolation import isolate


@pytest.fixture(scope="package", autouse=True)
def isolation() -> Iterator[None]:
    """The environment of these tests knows nothing of the user's AWS; everything they start ends before they do."""
    before, mark = dict(os.environ), f"END_TO_END={uuid.uuid4()}"
    isolate(os.environ)
    os.environ["END_TO_END"] = mark.partition("=")[2]
    yield
    remaining = left(mark, 10)
    os.environ.clear()
    os.environ.update(before)
    assert not remaining, f"left running: {remaining}"


@pytest.fixture(scope="package")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone with one job, bills, for tests that leave it as it is."""
    clone = Clone(tmp_path_factory.mktemp("clone"))
    clone.add_job(BILLS, "books")
    return clone


@pytest.fixture(scope="package")
def whole_clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone with the jobs of the checkout, for tests that leave them as they are."""
    return Clone(tmp_path_factory.mktemp("whole"), jobs=True)


@pytest.fixture
def own_clone(tmp_path: Path) -> Clone:
    """A clone without jobs, for a test that adds some."""
    return Clone(tmp_path)


@pytest.fixture(scope="module")
def local(isolation: None) -> Iterator[Local]:  # noqa: ARG001 - must come first
    """A local cloud for the stories of a file."""
    with LocalCloud() as cloud:
        yield Local(cloud)


@pytest.fixture(scope="module")
def target() -> Iterator[Server]:
    """A target of the test's own."""
    with Server() as server:
        yield server
