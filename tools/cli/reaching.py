"""Which deployment a command is for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from rollcall.core.errors import RollcallError
from tools.cli.deployment import Deployment
from tools.local_cloud.isolation import isolate
from tools.local_cloud.ministack import CHECKOUT

#: Where `--keep` leaves the local cloud's data.
KEPT = CHECKOUT / ".rollcall"


@contextmanager
def reached(environment: str | None) -> Iterator[Deployment]:
    """The environment; without one, the kept local cloud, for which nothing of the user's AWS set-up is read."""
    # Each is imported when it is asked for: the one starts a cloud, the other needs an account.
    if environment is not None:
        from tools.cli.aws import deployed

        with deployed(environment) as deployment:
            yield deployment
    else:
        from tools.cli.kept import kept

        isolate(os.environ)
        with kept(kept_folder()) as deployment:
            yield deployment


def kept_folder() -> Path:
    """Raises RollcallError where nothing was kept."""
    if not KEPT.is_dir():
        raise RollcallError("there is no kept local cloud; make one with: rollcall run JOB --keep")
    return KEPT


def check_for_local_cloud(context: typer.Context, *names: str) -> None:
    """Raises RollcallError where one of these options was given, together with an environment."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            option = f"--{name.replace('_', '-')}"
            raise RollcallError(
                f"{option} is for local clouds; deployed, a job has what stacks/environments.py binds: "
                f"leave out {option}, or --env"
            )
