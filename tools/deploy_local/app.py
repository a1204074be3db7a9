"""The CDK app with one more environment, whose targets and reports are stand-ins on loopback.

`ROLLCALL_LOCAL_STAND_INS=http://127.0.0.1:1234/… cdk --app "python -m tools.deploy_local.app" …`
"""

import os
import platform
import sys
from pathlib import Path

from aws_cdk import App, RemovalPolicy
from aws_cdk.aws_logs import RetentionDays

from rollcall.core.catalog import Declared, catalog
from rollcall.core.errors import RollcallError
from rollcall.core.target import Location
from stacks.deployment import deploy
from stacks.environment import Environment
from stacks.runtime import Build
from tools.cli.stand_ins import of_target
from tools.cli.terminal import print_notice
from tools.deploy_local.cdk import STAND_INS

ROOT = Path(__file__).resolve().parents[2]
NAME = "local"
#: What machines call themselves, and what Lambda calls them
#: (https://docs.aws.amazon.com/lambda/latest/dg/foundation-arch.html).
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
HERE = ARCHITECTURES[platform.machine().lower()]


def environment(jobs: list[Declared], stand_ins: str) -> Environment:
    """All jobs, their targets and reports played by the stand-ins at this base URL; schedules are off."""
    return Environment(
        name=NAME,
        systems=tuple(sorted({declared.system for declared in jobs})),
        targets={
            declared.job.target.name: Location(of_target(stand_ins, declared.job.target.name))
            for declared in jobs
            if declared.job.target.http
        },
        # Nobody makes them: the job that runs needs none.
        buckets={bucket.name: f"local-{bucket.name}" for declared in jobs for bucket in declared.job.buckets},
        reports={
            report.name: Location(f"{stand_ins}/report/{declared.job.name}")
            for declared in jobs
            for report in declared.job.reports
        },
        schedules_enabled=False,
        manifest_retention_days=30,
        log_retention=RetentionDays.ONE_DAY,
        removal_policy=RemovalPolicy.DESTROY,
    )


def main() -> None:
    """Write the templates to the CDK's output folder, or end with one line that says why not."""
    app = App()
    build = Build(
        root=ROOT,
        dependencies=ROOT / "layers/dependencies/build/ministack",
        staging=Path(app.outdir, "packages"),
        architecture=HERE,
    )
    try:
        jobs = list(catalog().values())
        deploy(app, environment=environment(jobs, os.environ[STAND_INS]), jobs=jobs, build=build)
    except RollcallError as error:
        print_notice(str(error))
        sys.exit(1)
    app.synth()


if __name__ == "__main__":
    main()
