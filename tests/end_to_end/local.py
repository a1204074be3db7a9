"""Words to tell stories on a local cloud with."""

import importlib
import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from rollcall.core.catalog import Declared
from rollcall.core.run import RunRecord
from rollcall.core.sizing import worker_sizing
from rollcall.core.target import UNLIMITED, Location
from rollcall.engine.runs.failures import Failure, failures
from tests.end_to_end.jobs._little import THINGS
from tools.cli.stand_ins import StandIns
from tools.local_cloud import resources
from tools.local_cloud.cloud import Deployed, LocalCloud

JOBS = "tests.end_to_end.jobs"
#: A run of these tests takes seconds; a loaded machine many more.
PATIENCE = 60.0


def declared(name: str) -> Declared:
    """The test job in the file of this name."""
    module = f"{JOBS}.{name}"
    return Declared(importlib.import_module(module).job, "little", module)


class Local:
    """A local cloud, with runs of test jobs on it."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self._nonces = (f"r{number}" for number in itertools.count())

    def deploy(
        self,
        declared: Declared,
        target: str,
        report: str,
        visibility: int | None = None,
        rate: str = UNLIMITED,
    ) -> Deployed:
        """Deploy a job with one report.

        With `visibility` (seconds), received messages come back sooner than six times the worker's timeout; set
        afterwards, it would not hold for the receive that waits already.
        """
        reports = {need.name: Location(report) for need in declared.job.reports}
        with ExitStack() as patches:
            if visibility is not None:
                sizing = replace(worker_sizing(declared.job), visibility=timedelta(seconds=visibility))
                patches.enter_context(patch.object(resources, "worker_sizing", lambda _: sizing))
            return self.cloud.deploy(declared, Location(target, rate=rate), reports)

    def start(self, job: str) -> str:
        return self.cloud.start(job, datetime.now(UTC), next(self._nonces))

    def completed(self, run: str, seconds: float = PATIENCE) -> Mapping[str, Any]:
        """The announcement of a run, once it is heard."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for detail in self.cloud.announcements(1):
                if detail["run"] == run:
                    return detail
        raise AssertionError(f"{run} is not announced within {seconds} s: {self.cloud.ledger.run(run)}")

    def run(self, job: str) -> Mapping[str, Any]:
        """Start a run and hear how it ended."""
        return self.completed(self.start(job))

    def record(self, run: str) -> RunRecord:
        found = self.cloud.ledger.run(run)
        assert found is not None, f"{run} is not in the ledger"
        return found

    def failures(self, run: str) -> dict[str | None, Failure]:
        """What did not succeed, by key."""
        return {each.key: each for each in failures(self.cloud.ledger, self.cloud.manifests, self.record(run))}

    def completions(self, run: str) -> int:
        """How many announcements of a run were heard, a last look included."""
        return sum(detail["run"] == run for detail in self.cloud.announcements(1))


@contextmanager
def stand_ins(name: str, **options: Any) -> Iterator[StandIns]:
    """The stand-ins' report and target for a test job."""
    with StandIns(job_module=f"{JOBS}.{name}", items=THINGS.array, **options) as serving:
        yield serving
