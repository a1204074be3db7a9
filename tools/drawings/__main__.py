"""`python -m tools.drawings` writes docs/state-machines.md from the templates of `prod`, without AWS and network."""

import json
import tempfile
from pathlib import Path

from aws_cdk import App

from rollcall.core.catalog import catalog
from stacks.deployment import deploy
from stacks.environments import PROD
from stacks.runtime import Build
from tools.drawings.state_machines import PAGE, page, state_machines

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Synthesize, draw and write."""
    with tempfile.TemporaryDirectory(prefix="rollcall-") as folder:
        # Of the packages only the names of their zips would differ.
        (Path(folder) / "dependencies/python").mkdir(parents=True)
        context = json.loads((ROOT / "cdk.json").read_text())["context"]
        app = App(context=context, outdir=str(Path(folder) / "cdk.out"))
        build = Build(root=ROOT, dependencies=Path(folder) / "dependencies", staging=Path(folder) / "packages")
        deploy(app, environment=PROD, jobs=catalog().values(), build=build)
        templates = [stack.template for stack in app.synth().stacks]
    (ROOT / PAGE).write_text(page(state_machines(templates), f"rollcall-{PROD.name}-"))


if __name__ == "__main__":
    main()
