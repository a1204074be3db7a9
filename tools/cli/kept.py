"""The local cloud whose data was kept, as a deployment."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rollcall.adapters.functions import Functions
from rollcall.adapters.queue import Queues
from tools.cli.deployment import Deployment
from tools.local_cloud import resources
from tools.local_cloud.cloud import LocalCloud


@contextmanager
def kept(folder: Path) -> Iterator[Deployment]:
    """Start the local cloud on `folder`, and end it. Raises MiniStackError for what its services fail with."""
    with LocalCloud(folder=folder) as cloud, cloud.telling():
        yield as_deployment(cloud)


def as_deployment(cloud: LocalCloud) -> Deployment:
    """A running local cloud as commands see it."""
    return Deployment(
        environment=resources.ENVIRONMENT,
        place=str(cloud.folder),
        option="",
        ledger=cloud.ledger,
        manifests=cloud.manifests,
        queues=Queues(cloud.client("sqs"), resources.ENVIRONMENT),
        functions=Functions(cloud.lambda_, resources.ENVIRONMENT),
        alone=True,
    )
