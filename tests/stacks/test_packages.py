"""What is in each function's zip."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from rollcall.core.catalog import Declared
from rollcall.core.errors import RollcallError
from stacks.package import Packages
from tests.stacks import sample
from tests.stacks.cloud import Cloud
from tests.stacks.deployed import DEPLOYED, ROOT, kinds_of

PACKAGED = {
    "functions/__init__.py",
    "functions/_shared.py",
    "functions/jobs/__init__.py",
    "functions/jobs/payments/__init__.py",
    "functions/jobs/payments/_bank.py",
    "functions/jobs/payments/_formats/__init__.py",
}


@pytest.mark.parametrize("kind", ["fan_out", "worker", "dead_letter"])
def test_a_jobs_function_holds_its_entry_point_its_job_and_their_helpers(
    clouds: Mapping[str, Cloud], kind: str
) -> None:
    cloud = clouds["sample"]
    assert cloud.package(cloud.function(kind, "pay")) == PACKAGED | {
        f"functions/{kind}/__init__.py",
        f"functions/{kind}/handler.py",
        "functions/jobs/payments/pay.py",
    }


@pytest.mark.parametrize("kind", ["completion", "watchdog"])
def test_the_engines_functions_hold_all_jobs_of_the_environment(clouds: Mapping[str, Cloud], kind: str) -> None:
    cloud = clouds["sample"]
    assert cloud.package(cloud.function(kind)) == PACKAGED | {
        f"functions/{kind}/__init__.py",
        f"functions/{kind}/handler.py",
        "functions/jobs/payments/pay.py",
        "functions/jobs/payments/pay_back.py",
    }


def test_a_job_file_is_in_the_packages_of_its_own_functions_and_the_engines(
    case: tuple[Cloud, Declared],
) -> None:
    cloud, declared = case
    file = declared.module.replace(".", "/") + ".py"
    holders = {
        function["FunctionName"]
        for function in cloud.of_type("AWS::Lambda::Function")
        if file in cloud.package(function)
    }
    own = {cloud.function(kind, declared.job.name)["FunctionName"] for kind in kinds_of(declared.job)}
    assert holders == own | {cloud.function(kind)["FunctionName"] for kind in ("completion", "watchdog")}


@pytest.mark.parametrize("kind", [*sample.KINDS, "batch"])
def test_the_handler_can_be_imported_from_the_package_alone(clouds: Mapping[str, Cloud], kind: str) -> None:
    """With every job that is in it, and nothing of the checkout but the engine's layer."""
    cloud = clouds["dev"]
    functions = [each for each in cloud.of_type("AWS::Lambda::Function") if each["Handler"].split(".")[1] == kind]
    if not functions:
        pytest.skip("dev deploys no jobs")
    package = cloud.package_folder(functions[0])
    jobs = [name for name in cloud.package(functions[0]) if name in {_file(job) for job in DEPLOYED["dev"]}]
    modules = [f"functions.{kind}.handler", *(name.removesuffix(".py").replace("/", ".") for name in sorted(jobs))]
    script = (
        "import importlib, sys, functions\n"
        f"assert functions.__file__.startswith({str(package)!r}), functions.__file__\n"
        f"modules = [importlib.import_module(name) for name in {modules!r}]\n"
        "assert callable(modules[0].handler)\n"
        "assert not {'aws_cdk', 'stacks', 'tools'} & set(sys.modules)\n"
    )
    path = os.pathsep.join([str(package), str(ROOT / "layers/rollcall/python")])
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        cwd=package,
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]},
    )


def test_a_handler_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RollcallError, match=r"functions/worker/handler\.py is missing"):
        Packages(root=tmp_path, staging=tmp_path / "staging").stage("worker", sample.JOBS)


def test_unchanged_sources_give_the_same_package_and_changed_ones_another(tmp_path: Path) -> None:
    packages = Packages(root=sample.write_checkout(tmp_path), staging=tmp_path / "staging")
    pay, pay_back = sample.JOBS
    first, other = packages.stage("worker", [pay]), packages.stage("worker", [pay_back])
    os.utime(tmp_path / "functions/jobs/payments/pay.py", (0, 0))
    assert packages.stage("worker", [pay]) == first
    (tmp_path / "functions/jobs/payments/pay.py").write_text("changed = True\n")
    assert packages.stage("worker", [pay]) not in (first, other)
    assert packages.stage("worker", [pay_back]) == other


def _file(declared: Declared) -> str:
    return declared.module.replace(".", "/") + ".py"
