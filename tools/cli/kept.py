"""What a kept local cloud knows of its runs."""

from pathlib import Path

from rollcall.core.errors import RollcallError
from rollcall.core.run import Redrive
from rollcall.engine.failures import Failure
from rollcall.engine.redriving import matching
from tools.local_cloud.cloud import LocalCloud


def failures_of(folder: Path, run: str, choice: Redrive) -> list[Failure]:
    """The chosen entries of a run. Raises RollcallError where there is no such run."""
    with LocalCloud(folder=folder) as cloud, cloud.telling():
        record = cloud.ledger.run(run)
        if record is None:
            raise RollcallError(f"there is no run {run} in {folder}")
        return list(matching(cloud.ledger, cloud.manifests, record, choice))
