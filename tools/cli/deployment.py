"""What the commands reach: an environment in AWS, or a local cloud whose data was kept."""

from dataclasses import dataclass

from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.manifests import Manifests
from rollcall.adapters.queue import Queues
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunRecord


class Interrupted(Exception):
    """Somebody pressed Ctrl-C; what is deployed goes on, and the text says how to see it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One deployment of Rollcall, wherever it is."""

    #: As names of what is deployed have it: dev, staging, prod, local.
    environment: str
    #: As sentences have it: `environment prod`, a folder.
    place: str
    #: What a command ends with to reach it: ` --env prod`, or nothing.
    option: str
    ledger: Ledger
    manifests: Manifests
    queues: Queues
    functions: Functions
    #: Whether nobody else works on its runs: who had leased one ended with an earlier local cloud.
    alone: bool

    def run(self, run: str) -> RunRecord:
        """Raises RollcallError where there is no such run."""
        record = self.ledger.run(run)
        if record is None:
            raise RollcallError(f"there is no run {run} in {self.place}")
        return record
