"""The rules of cdk-nag's AwsSolutions, on every environment. Exceptions stand beside their resources, with reasons."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from stacks.deployment import deploy
from stacks.runtime import Build
from tests.stacks import sample
from tests.stacks.deployed import EVERY, JOBS, ROOT


@pytest.mark.parametrize("name", EVERY)
def test_aws_solutions_finds_nothing(tmp_path: Path, context: dict[str, Any], dependencies: Path, name: str) -> None:
    root = sample.write_checkout(tmp_path / "checkout") if name == "sample" else ROOT
    app = App(context=context, outdir=str(tmp_path / "cdk.out"))
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    build = Build(root=root, dependencies=dependencies, staging=tmp_path / "packages")
    deploy(app, environment=EVERY[name], jobs=JOBS[name], build=build)
    try:
        app.synth()
    except RuntimeError:
        pytest.fail("\n".join(findings(tmp_path / "cdk.out/validation-report.json")), pytrace=False)


def findings(report: Path) -> Iterator[str]:
    for plugin in json.loads(report.read_text())["pluginReports"]:
        for violation in plugin["violations"]:
            for construct in violation["violatingConstructs"]:
                yield f"{construct['constructPath']}: {violation['ruleName']}: {violation['description']}"
