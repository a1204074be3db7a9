"""`make deploy-local`: the real stacks on MiniStack, a run through them, and nothing left. The last line is JSON."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from rollcall.adapters.ledger import Ledger
from rollcall.core import names
from rollcall.core.catalog import Declared, catalog
from rollcall.core.errors import RollcallError
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord, iso, run_id
from rollcall.engine.progress import outcomes
from tools.cli.stand_ins import StandIns, StandInsError
from tools.deploy_local.account import Account
from tools.deploy_local.app import NAME
from tools.deploy_local.cdk import ACCOUNT, Cdk, CdkError
from tools.local_cloud.isolation import REGION, isolate, isolated
from tools.local_cloud.ministack import MiniStack, MiniStackError

MAIN_JOB = "client-deposit-update"
APP = f"{sys.executable} -m tools.deploy_local.app"
LOOK_SECONDS = 0.5
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Shown:
    """What `make deploy-local` shows."""

    #: Stacks.
    deployed: list[str]
    run_state: str
    total: int
    succeeded: int
    #: Announcements of the run's end on the environment's bus.
    completions: int
    #: Calls that the target was made.
    calls: int
    resources_left: list[str]
    seconds: float

    @property
    def as_it_should_be(self) -> bool:
        """Whether everything was called once, told once and taken away again."""
        counts = self.succeeded == self.calls == self.total > 0
        return counts and self.run_state == "complete" and self.completions == 1 and not self.resources_left


def show(declared: Declared, entries: int, within: float, tell: Tell) -> Shown:
    """Deploy, run, look and destroy. Raises CdkError, MiniStackError, StandInsError and RollcallError."""
    began = time.monotonic()
    with TemporaryDirectory(prefix="rollcall-deploy-") as folder:
        ministack = MiniStack(Path(folder))
        try:
            with StandIns(job_module=declared.module, entries=entries) as stand_ins:
                environ = isolated(os.environ) | {"AWS_ENDPOINT_URL": ministack.endpoint, "HOME": folder}
                cdk = Cdk(APP, {"stand_ins": stand_ins.base}, environ, Path(folder, "cdk.out"))
                account = Account(ministack.endpoint)
                tell(f"MiniStack listens on {ministack.endpoint}; cdk bootstrap")
                cdk.bootstrap()
                tell("cdk deploy --all")
                cdk.deploy()
                found = _run(account, declared, within, tell)
                calls = int(stand_ins.counts(declared.job.target.name)["calls"])
                tell("cdk destroy --all")
                account.empty(names.manifests_name(NAME, ACCOUNT, REGION))
                cdk.destroy()
                left = account.left_of(NAME)
        finally:
            ministack.stop()
    return Shown(**found, calls=calls, resources_left=left, seconds=round(time.monotonic() - began, 1))


def _run(account: Account, declared: Declared, within: float, tell: Tell) -> dict[str, Any]:
    """Start the job as its schedule would, and wait for the end that its deployed functions bring about."""
    stacks = [each.removeprefix("stack ") for each in account.left_of(NAME) if each.startswith("stack ")]
    heard, now = account.listen(names.bus_name(NAME)), datetime.now(UTC)
    function = names.function_name(NAME, "fan_out", declared.job.name)
    start = {"job": declared.job.name, "scheduled_time": iso(now)}
    tell(f"{len(stacks)} stacks are deployed; {function} is started")
    account.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(start))
    ledger = Ledger(account.client("dynamodb"), names.ledger_name(NAME))
    run = _ended(ledger, run_id(declared.job.name, now), within, tell)
    ended = [detail for detail in heard.details() if detail["run"] == run.id]
    heard.end()
    return {
        "deployed": sorted(stacks),
        "run_state": run.state.value,
        "total": run.total or 0,
        "succeeded": outcomes(ledger, run)[Outcome.SUCCEEDED],
        "completions": len(ended),
    }


def _ended(ledger: Ledger, name: str, within: float, tell: Tell) -> RunRecord:
    end, told = time.monotonic() + within, -1
    while time.monotonic() < end:
        run = ledger.run(name)
        if run is not None and run.state.terminal and run.announced:
            return run
        if run is not None and run.nonce is not None:
            settled = sum(outcomes(ledger, run).values())
            if settled != told:
                told = settled
                tell(f"{name} is {run.state}: {settled} of {run.total} settled")
        time.sleep(LOOK_SECONDS)
    raise RollcallError(f"{name} did not end within {within:.0f} seconds; it is {run.state if run else 'not begun'}")


def main(
    job: Annotated[str, typer.Option(help="The job that is started.")] = MAIN_JOB,
    entries: Annotated[int, typer.Option(min=1, help="Size of its stand-in report.")] = 200,
    within: Annotated[float, typer.Option(help="Seconds in which the run has to end.")] = 180.0,
) -> None:
    """Deploy all stacks to MiniStack with the stock cdk, run one job through them, destroy them."""
    isolate(os.environ)
    jobs = catalog()
    try:
        if job not in jobs:
            raise RollcallError(f"there is no job {job!r}; there are: {', '.join(jobs)}")
        shown = show(jobs[job], entries, within, lambda line: print(f"rollcall: {line}", file=sys.stderr))
    except (CdkError, MiniStackError, StandInsError, RollcallError) as error:
        sys.exit(f"rollcall: {error}")
    print(json.dumps(asdict(shown)))
    sys.exit(not shown.as_it_should_be)


if __name__ == "__main__":
    typer.run(main)
