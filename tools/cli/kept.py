"""The local cloud whose data was kept, as a deployment."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rollcall.adapters.clients import AWS_ERRORS
from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.manifests import Manifests
from rollcall.adapters.queue import Queues
from tools.cli.deployment import Deployment
from tools.local_cloud import resources
from tools.local_cloud.address import Address
from tools.local_cloud.cloud import LocalCloud
from tools.local_cloud.kept_data import InUseError, attached
from tools.local_cloud.ministack import MiniStackError


@contextmanager
def kept(folder: Path) -> Iterator[Deployment]:
    """Attach to the local cloud that runs on `folder`, or start one and end it.

    Raises MiniStackError for what its services fail with.
    """
    while True:
        with attached(folder) as address:
            if address is not None:
                with _explained(folder):
                    yield _deployment(folder, address, alone=False)
                return
        try:
            cloud = LocalCloud(folder=folder)
        except InUseError:  # Another command started one a moment ago.
            continue
        with cloud, cloud.telling():
            yield as_deployment(cloud)
        return


def as_deployment(cloud: LocalCloud) -> Deployment:
    """A local cloud of this process as commands see it."""
    return _deployment(cloud.folder, cloud.address, alone=True)


def _deployment(folder: Path, address: Address, *, alone: bool) -> Deployment:
    return Deployment(
        environment=resources.ENVIRONMENT,
        place=str(folder),
        option="",
        ledger=Ledger(address.client("dynamodb"), resources.LEDGER),
        manifests=Manifests(address.client("s3"), resources.MANIFESTS),
        queues=Queues(address.client("sqs"), resources.ENVIRONMENT),
        functions=Functions(address.client("lambda"), resources.ENVIRONMENT),
        alone=alone,
    )


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except AWS_ERRORS as error:
        what = f"the local cloud in {folder} failed or has ended: {error}"
        raise MiniStackError(f"{what}; run the command again") from error
