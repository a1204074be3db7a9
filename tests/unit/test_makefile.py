"""The Makefile's variables have the defaults that it promises."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OF_MAKE = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CLOUD", "ARGS", "JOB"}


def told(*arguments: str) -> str:
    """The commands that make would run."""
    environ = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    make = ["make", "--dry-run", "--assume-old=install-dev", *arguments]
    return subprocess.run(make, cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("test",), "-m pytest --cloud=models"),
        (("test", "CLOUD=moto", "ARGS=-k fan_out"), "-m pytest --cloud=moto -k fan_out"),
        (("run",), "rollcall run client-deposit-update"),
        (("run", "JOB=nald-import"), "rollcall run nald-import"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else None,
)
def test_a_target_runs_its_command(arguments: tuple[str, ...], command: str) -> None:
    assert command in told(*arguments)
