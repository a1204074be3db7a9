"""The stock command line of the CDK, as a process."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tools.local_cloud.isolation import REGION
from tools.local_cloud.ministack import CHECKOUT

#: Installed by `make cdk`.
CDK = CHECKOUT / ".cdk-cli/cdk"
#: MiniStack's.
ACCOUNT = "000000000000"
SAID = 15


class CdkError(Exception):
    """It failed; the text is its own last lines."""


class Cdk:
    """`cdk`, for one app, in one environment of variables."""

    def __init__(self, app: str, context: Mapping[str, str], environ: Mapping[str, str], output: Path) -> None:
        if not CDK.exists():
            raise CdkError("the CDK's command line is not installed; run make cdk, which make deploy-local does")
        self._environ = {**environ, "CDK_DISABLE_CLI_TELEMETRY": "true", "CI": "true"}
        values = [text for name, value in context.items() for text in ("--context", f"{name}={value}")]
        self._options = ["--app", app, "--output", str(output), "--no-notices", "--no-version-reporting", *values]

    def bootstrap(self) -> None:
        """Prepare the account for deployments."""
        self._call("bootstrap", f"aws://{ACCOUNT}/{REGION}")

    def deploy(self) -> None:
        """Deploy all stacks."""
        self._call("deploy", "--all", "--require-approval=never", "--concurrency=4")

    def destroy(self) -> None:
        """Destroy all stacks."""
        self._call("destroy", "--all", "--force")

    def _call(self, command: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(CDK), command, *arguments, *self._options],
            cwd=CHECKOUT,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            said = "\n".join(done.stdout.strip().splitlines()[-SAID:])
            raise CdkError(f"cdk {command} ended with {done.returncode}:\n{said}")
