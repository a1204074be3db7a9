"""`make deploy-local`: the last line is what was shown, as JSON; the exit code is 0 if it is as it must be."""

import os
import signal
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from rollcall.core.catalog import catalog
from rollcall.core.errors import RollcallError
from tools.cli.deployment import Interrupted
from tools.cli.exit_codes import INTERRUPTED
from tools.cli.stand_ins import StandInsError
from tools.cli.terminal import guard_stderr, print_json, print_notice
from tools.deploy_local.cdk import CdkError
from tools.deploy_local.showing import Showing, Wanted
from tools.local_cloud.isolation import isolate
from tools.local_cloud.ministack import MiniStackError

JOB = "client-deposit-update"


def main(
    job: Annotated[str, typer.Option(help="The job that is started.")] = JOB,
    entries: Annotated[int, typer.Option(min=1, help="Size of its stand-in report.")] = 100,
    error_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of the target's answers that are 503.")] = 0.02,
    within: Annotated[float, typer.Option(help="Seconds in which the run has to end.")] = 180.0,
) -> None:
    """Deploy all stacks to MiniStack with the CDK's command line, run one job through them, destroy them."""
    isolate(os.environ)
    jobs = catalog()
    if job not in jobs:
        raise typer.BadParameter(f"there is no job {job!r}; there are: {', '.join(jobs)}")
    showing = Showing(Wanted(declared=jobs[job], entries=entries, error_rate=error_rate, within=within), print_notice)
    try:
        troubles = showing.go()
    except (CdkError, MiniStackError, StandInsError, RollcallError) as error:
        troubles = [str(error)]
    for trouble in troubles:
        print_notice(trouble)
    print_json(asdict(showing.shown))
    raise typer.Exit(bool(troubles))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    guard_stderr()
    signal.signal(signal.SIGTERM, _interrupt)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort, Interrupted):
        code = INTERRUPTED
    except typer.TyperException as error:
        print_notice(error.format_message())
        code = 2
    if code == INTERRUPTED:
        print_notice("interrupted; everything that was started is ended")
    sys.exit(code)
