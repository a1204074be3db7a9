"""Every environment with every job, synthesized once."""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.cx_api import CloudAssembly

from rollcall.core.catalog import Declared
from stacks.deployment import deploy
from stacks.environments import ENVIRONMENTS
from stacks.runtime import Build
from tests.stacks import sample
from tests.stacks.cloud import Cloud
from tests.stacks.deployed import DEPLOYED, EVERY, JOBS, ROOT


@pytest.fixture(scope="session")
def context() -> dict[str, Any]:
    """The feature flags that `cdk synth` and `make synth` hand to the app."""
    return dict(json.loads((ROOT / "cdk.json").read_text())["context"])


@pytest.fixture(scope="session")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for the layer that `make layer` builds."""
    layer = tmp_path_factory.mktemp("dependencies")
    (layer / "python").mkdir()
    (layer / "python" / "third_party.py").write_text("")
    return layer


@pytest.fixture(scope="session")
def clouds(
    tmp_path_factory: pytest.TempPathFactory, context: dict[str, Any], dependencies: Path
) -> Mapping[str, Cloud]:
    """Synthesized by the first process of a session that needs it, and read by the others."""
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    assembled = folder / "cdk.out"
    with (folder / "cdk.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (assembled / "manifest.json").exists():
            _synthesize(assembled, folder / "checkout", context, dependencies)
    assembly = CloudAssembly(str(assembled))
    return {name: Cloud(assembly, environment, DEPLOYED[name]) for name, environment in EVERY.items()}


def _synthesize(assembled: Path, checkout: Path, context: dict[str, Any], dependencies: Path) -> None:
    app = App(context=context, outdir=str(assembled))
    roots = dict.fromkeys(ENVIRONMENTS, ROOT)
    roots["sample"] = sample.write_checkout(checkout)
    for name, environment in EVERY.items():
        build = Build(root=roots[name], dependencies=dependencies, staging=assembled / "packages")
        deploy(app, environment=environment, jobs=JOBS[name], build=build)
    app.synth()


@pytest.fixture(params=EVERY)
def cloud(request: pytest.FixtureRequest, clouds: Mapping[str, Cloud]) -> Cloud:
    """Each environment in turn."""
    return clouds[request.param]


@pytest.fixture(
    params=[(name, declared) for name, jobs in DEPLOYED.items() for declared in jobs],
    ids=lambda case: f"{case[0]}-{case[1].job.name}",
)
def case(request: pytest.FixtureRequest, clouds: Mapping[str, Cloud]) -> tuple[Cloud, Declared]:
    """Each job of each environment in turn."""
    name, declared = request.param
    return clouds[name], declared


@pytest.fixture(
    params=[(name, declared) for name, jobs in DEPLOYED.items() for declared in jobs if declared.job.schedule.crons],
    ids=lambda case: f"{case[0]}-{case[1].job.name}",
)
def scheduled(request: pytest.FixtureRequest, clouds: Mapping[str, Cloud]) -> tuple[Cloud, Declared]:
    """Each job of each environment that is due by itself."""
    name, declared = request.param
    return clouds[name], declared


@pytest.fixture(
    params=[(name, declared) for name, jobs in DEPLOYED.items() for declared in jobs if declared.job.delivery is None],
    ids=lambda case: f"{case[0]}-{case[1].job.name}",
)
def queued(request: pytest.FixtureRequest, clouds: Mapping[str, Cloud]) -> tuple[Cloud, Declared]:
    """Each job of each environment that is delivered by a queue."""
    name, declared = request.param
    return clouds[name], declared
