"""The rules of cdk-nag's AwsSolutions."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks


def nothing_found(app: App) -> None:
    """Synthesize `app`; the test fails with all that the rules find."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError:
        pytest.fail("\n".join(_findings(Path(app.outdir, "validation-report.json"))), pytrace=False)


def _findings(report: Path) -> Iterator[str]:
    for plugin in json.loads(report.read_text())["pluginReports"]:
        for violation in plugin["violations"]:
            for construct in violation["violatingConstructs"]:
                yield f"{construct['constructPath']}: {violation['ruleName']}: {violation['description']}"
