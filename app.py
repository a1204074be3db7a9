"""Which environment, which stacks: `cdk deploy --all -c environment=dev`; without one, those of all environments."""

import sys
from pathlib import Path

from aws_cdk import App

from rollcall.core.catalog import catalog
from rollcall.core.errors import RollcallError
from stacks.deployment import deploy
from stacks.runtime import Build

ROOT = Path(__file__).resolve().parent


def main(*, dependencies: Path = ROOT / "layers/dependencies/build/arm64") -> None:
    """Write the templates to the CDK's output folder, or end with one line that says why not."""
    app = App()
    build = Build(root=ROOT, dependencies=dependencies, staging=Path(app.outdir, "packages"))
    try:
        # Jobs and environments are checked when they are imported.
        from stacks.environments import chosen

        jobs = catalog().values()
        for environment in chosen(app.node.try_get_context("environment")):
            deploy(app, environment=environment, jobs=jobs, build=build)
    except RollcallError as error:
        sys.exit(f"rollcall: {error}")
    app.synth()


if __name__ == "__main__":
    main()
