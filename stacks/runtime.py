"""What the functions of a stack run on."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from rollcall.core.catalog import Declared
from rollcall.core.errors import RollcallError
from stacks.package import Packages

PYTHON = lambda_.Runtime.PYTHON_3_13


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What functions are made from."""

    #: The checkout, with `functions/` and `layers/rollcall/`.
    root: Path
    #: The layer of third-party packages that `make layer` built.
    dependencies: Path
    #: A folder for copies; the CDK's own output folder will do.
    staging: Path
    #: arm64 or x86_64, as `dependencies` was built for.
    architecture: str = "arm64"


class Runtime(Construct):
    """The engine's layer and the one of third-party packages, and the packages of functions.

    Each stack has layer versions of its own: shared ones would tie the stacks' updates together. They are the
    same two assets everywhere and cost nothing. Raises RollcallError if the third-party layer is not built.
    """

    def __init__(self, scope: Construct, id_: str, *, build: Build) -> None:
        super().__init__(scope, id_)
        if not (build.dependencies / "python").is_dir():
            raise RollcallError(f"there is no layer of third-party packages in {build.dependencies}; run make layer")
        self.architecture = lambda_.Architecture.custom(build.architecture)
        self.layers = [
            self._layer("Engine", build.root / "layers" / "rollcall"),
            self._layer("Dependencies", build.dependencies),
        ]
        self._packages = Packages(root=build.root, staging=build.staging)

    def code(self, kind: str, jobs: Iterable[Declared]) -> lambda_.Code:
        """The package of a function of `kind` for `jobs`."""
        return lambda_.Code.from_asset(str(self._packages.stage(kind, jobs)))

    def _layer(self, id_: str, folder: Path) -> lambda_.LayerVersion:
        return lambda_.LayerVersion(
            self,
            id_,
            code=lambda_.Code.from_asset(str(folder), exclude=["**/__pycache__", "**/*.pyc"]),
            compatible_architectures=[self.architecture],
            compatible_runtimes=[PYTHON],
        )
