"""The rules of cdk-nag's AwsSolutions, on every environment. Exceptions stand beside their resources, with reasons."""

from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from stacks.deployment import deploy
from stacks.runtime import Build
from tests.stacks import sample
from tests.stacks.deployed import EVERY, JOBS, ROOT
from tests.stacks.nag import nothing_found


@pytest.mark.parametrize("name", EVERY)
def test_aws_solutions_finds_nothing(tmp_path: Path, context: dict[str, Any], dependencies: Path, name: str) -> None:
    root = sample.write_checkout(tmp_path / "checkout") if name == "sample" else ROOT
    app = App(context=context, outdir=str(tmp_path / "cdk.out"))
    build = Build(root=root, dependencies=dependencies, staging=tmp_path / "packages")
    deploy(app, environment=EVERY[name], jobs=JOBS[name], build=build)
    nothing_found(app)
