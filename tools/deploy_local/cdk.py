"""The stock command line of the CDK, as processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from tools.deploy_local.assembly import Assembly
from tools.local_cloud.isolation import REGION, isolated
from tools.local_cloud.logs import private_file
from tools.local_cloud.ministack import CHECKOUT
from tools.loopback import PRIVATE_UMASK, Keys

#: Installed by `make cdk`.
CDK = CHECKOUT / ".cdk-cli/cdk"
#: MiniStack's.
ACCOUNT = "000000000000"
#: Variable with the base URL of the stand-ins, for the app.
STAND_INS = "ROLLCALL_LOCAL_STAND_INS"
APP = f"{sys.executable} -m tools.deploy_local.app"
#: Nothing is asked, told or looked up elsewhere.
QUIET = ("--no-notices", "--no-version-reporting", "--ci")
LAST_LINES = 15


class CdkError(Exception):
    """It is not there, or failed; the text is its own last lines."""


class Command:
    """One call of it, under way, in a group of its own with all that it starts."""

    def __init__(self, arguments: list[str], *, log: Path, cwd: Path, environ: Mapping[str, str]) -> None:
        self._name = arguments[0]
        self._log = log
        with private_file(log) as out:
            self._process = subprocess.Popen(
                [str(CDK), *arguments, *QUIET],
                cwd=cwd,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                umask=PRIVATE_UMASK,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Until it has done its work. Raises CdkError."""
        if code := self._process.wait():
            said = "\n".join(self._log.read_text(errors="replace").strip().splitlines()[-LAST_LINES:])
            raise CdkError(f"cdk {self._name} ended with {code}: {said or 'it said nothing'}")

    def end(self) -> None:
        """Kill it and what it started, if it is still at work."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Cdk:
    """A context manager: no command outlives it. What it writes goes to `folder`."""

    def __init__(self, folder: Path, endpoint: str, keys: Keys, stand_ins: str) -> None:
        """For the emulator at `endpoint`, which `keys` open, and an app whose targets and reports are at `stand_ins`.

        Raises CdkError if the command line is not installed.
        """
        if not CDK.exists():
            raise CdkError("the CDK's command line is not installed; run make cdk, which make deploy-local does")
        self._folder = folder
        self._output = folder / "cdk.out"
        self._environ = (
            isolated(os.environ)
            | keys.environ()
            | {
                "AWS_ENDPOINT_URL": endpoint,
                # Not on a command line, which everybody on this machine can read: the URL opens the stand-ins.
                STAND_INS: stand_ins,
                "CDK_DISABLE_CLI_TELEMETRY": "true",
                # Where it remembers accounts. Not HOME: the CDK is unpacked there, which takes half a minute.
                "CDK_HOME": str(folder / "cdk-home"),
                "TMPDIR": str(folder),
            }
        )
        self._commands: list[Command] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for command in self._commands:
            command.end()

    def bootstrap(self) -> Command:
        """Begin to prepare the account for deployments."""
        # Outside of the checkout, whose cdk.json would have it synthesize the app for nothing.
        return self._begin("bootstrap", f"aws://{ACCOUNT}/{REGION}", cwd=self._folder)

    def synth(self) -> Command:
        """Begin to synthesize the app."""
        options = (f"--app={APP}", f"--output={self._output}", "--quiet")
        return self._begin("synth", *options, cwd=CHECKOUT)

    @property
    def assembly(self) -> Assembly:
        """What was synthesized."""
        return Assembly.read(self._output)

    def deploy(self, stacks: Iterable[str]) -> Command:
        """Begin to deploy these stacks of the assembly and no others."""
        options = ("--exclusively", "--require-approval=never", "--concurrency=4")
        return self._begin("deploy", f"--app={self._output}", *options, *stacks, cwd=self._folder)

    def destroy(self, stacks: Iterable[str]) -> Command:
        """Begin to destroy these stacks of the assembly and no others."""
        return self._begin("destroy", f"--app={self._output}", "--exclusively", "--force", *stacks, cwd=self._folder)

    def _begin(self, name: str, *arguments: str, cwd: Path) -> Command:
        log = self._folder / f"cdk-{name}.log"
        command = Command([name, *arguments], log=log, cwd=cwd, environ=self._environ)
        self._commands.append(command)
        return command
