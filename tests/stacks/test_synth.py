"""The app as it is run: in a process of its own, without network, account, Docker and git."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import app
from stacks.environments import ENVIRONMENTS
from tests.stacks.cloud import Cloud
from tests.stacks.deployed import ROOT

#: Neither Python nor the CDK's Node process may open a connection.
NO_NETWORK = """
import socket
def refused(*_, **__): raise AssertionError("synth opened a socket")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
"""
NO_NETWORK_NODE = """
const refused = () => { throw new Error('synth opened a socket') }
require('net').Socket.prototype.connect = refused
require('dns').lookup = refused
"""
RUN = """
import sys
from pathlib import Path
from app import main
main(dependencies=Path(sys.argv[1]))
"""
#: Beside those that there are.
ANOTHER = """
from dataclasses import replace
from stacks.environment import Vpc
ENVIRONMENTS["another"] = replace(
    PROD, name="another", account="111122223333", region="eu-west-1",
    vpc=Vpc(subnet_ids=("subnet-0a1b2c3d",), security_group_ids=("sg-0a1b2c3d",)),
)
"""
#: W3005: the CDK writes dependencies that are implied already.
IGNORED = "W3005"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what synth reads, to be changed."""
    for name in ("functions", "stacks", "layers/rollcall"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "app.py", tmp_path)
    return tmp_path


def synthesize(
    checkout: Path, dependencies: Path, context: dict[str, Any], environment: str | None = None
) -> subprocess.CompletedProcess[str]:
    (checkout / "no_network.js").write_text(NO_NETWORK_NODE)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", NO_NETWORK + RUN, str(dependencies)],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        env={
            "PYTHONPATH": f"{checkout}:{checkout / 'layers/rollcall/python'}",
            "CDK_OUTDIR": str(checkout / "cdk.out"),
            "CDK_CONTEXT_JSON": json.dumps(context | ({} if environment is None else {"environment": environment})),
            "NODE_OPTIONS": f"--require {checkout / 'no_network.js'}",
            # No git, no Docker, no credentials; Node is found through JSII_NODE.
            "PATH": "",
            # Where jsii keeps the CDK unpacked; unpacking it anew takes seconds.
            "HOME": str(Path.home()),
            "JSII_NODE": os.environ.get("JSII_NODE") or str(shutil.which("node")),
        },
    )


def templates(checkout: Path) -> dict[str, dict[str, Any]]:
    files = (checkout / "cdk.out").glob("*.template.json")
    return {file.name.removesuffix(".template.json"): json.loads(file.read_text()) for file in files}


def test_a_new_job_file_is_all_that_it_takes(checkout: Path, dependencies: Path, context: dict[str, Any]) -> None:
    for system in (checkout / "functions/jobs").glob("*/"):
        shutil.rmtree(system)
    (checkout / "functions/jobs/accounting").mkdir()
    (checkout / "functions/jobs/accounting/__init__.py").touch()
    (checkout / "functions/jobs/accounting/_targets.py").write_text(
        "from rollcall import Report, Target\n"
        'ACCOUNTING = Target("accounting", concurrency=80)\n'
        'CLIENT_DEPOSITS = Report("client-deposits")\n'
    )
    shutil.copy(ROOT / "docs/examples/deposit_statements.py", checkout / "functions/jobs/accounting")
    done = synthesize(checkout, dependencies, context, "staging")
    assert done.returncode == 0, done.stderr
    assert set(templates(checkout)) == {
        f"rollcall-staging-{stack}"
        for stack in ("ledger", "engine", "jobs-accounting", "dashboard-accounting", "operations", "sums")
    }
    resources = templates(checkout)["rollcall-staging-jobs-accounting"]["Resources"].values()
    functions = {each["Properties"]["FunctionName"] for each in resources if each["Type"] == "AWS::Lambda::Function"}
    assert functions == {f"rollcall-staging-deposit-statements-{kind}" for kind in ("fan-out", "worker", "dead-letter")}


def test_without_any_job_the_rest_still_synthesizes(
    checkout: Path, dependencies: Path, context: dict[str, Any]
) -> None:
    for system in (checkout / "functions/jobs").glob("*/"):
        shutil.rmtree(system)
    done = synthesize(checkout, dependencies, context, "dev")
    assert done.returncode == 0, done.stderr
    assert set(templates(checkout)) == {"rollcall-dev-ledger", "rollcall-dev-engine", "rollcall-dev-operations"}


def test_every_environment_is_synthesized_from_the_checkout_alone(
    checkout: Path, dependencies: Path, context: dict[str, Any], clouds: dict[str, Cloud]
) -> None:
    """Also one that says its account, region and network: nothing is looked up."""
    with (checkout / "stacks/environments.py").open("a") as environments:
        environments.write(ANOTHER)
    done = synthesize(checkout, dependencies, context)
    assert done.returncode == 0, done.stderr
    another = {name.replace("-prod-", "-another-") for name in clouds["prod"].templates}
    assert set(templates(checkout)) == another.union(*(clouds[name].templates for name in ENVIRONMENTS))
    assert not (checkout / "cdk.context.json").exists()


def test_make_deploy_runs_one_command_of_the_cdk_which_synthesizes_that_environment_offline(
    tmp_path: Path,
) -> None:
    make = ["make", "--dry-run", "--silent", "deploy", "ENV=prod"]
    told = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True, env=without_make())
    command = told.stdout.splitlines()[-1].split()
    assert command == [".cdk-cli/cdk", "deploy", "--all", "--context", "environment=prod"]
    assert (ROOT / command[0]).is_file(), "the CDK's command line is not installed; run make cdk"
    # What `cdk` runs is cdk.json's app; here the layer may not be built.
    (tmp_path / "layer/python").mkdir(parents=True)
    (tmp_path / "no_network.js").write_text(NO_NETWORK_NODE)
    run = f"from pathlib import Path; import app; app.main(dependencies=Path({str(tmp_path / 'layer')!r}))"
    offline = ["--app", f'{sys.executable} -c "{run}"', "--output", str(tmp_path / "cdk.out"), "--no-notices"]
    arguments = [command[0], "synth", "--quiet", *command[3:], *offline]
    done = subprocess.run(
        arguments,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={
            "NODE_OPTIONS": f"--require {tmp_path / 'no_network.js'}",
            "HOME": str(Path.home()),
            "PATH": "/usr/bin:/bin",
        },
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "cdk.out/manifest.json").read_text())["artifacts"]
    stacks = {name for name, artifact in manifest.items() if artifact["type"] == "aws:cloudformation:stack"}
    assert stacks == {name for name in stacks if name.startswith("rollcall-prod-")}
    assert len(stacks) >= 3


def test_make_deploy_without_an_environment_deploys_nothing_and_asks_for_one() -> None:
    make = ["make", "--dry-run", "deploy"]
    told = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True, env=without_make())
    refusal = told.stdout.splitlines()[-2]
    done = subprocess.run(["/bin/sh", "-c", refusal], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "rollcall: say which environment: make deploy ENV=dev\n"


def test_a_make_that_only_tells_what_it_would_do_makes_nothing(tmp_path: Path) -> None:
    """Environments are installed by a make within the make."""
    pins = ("requirements.txt", "tools/requirements.txt", "tools/local_cloud/ministack-requirements.txt")
    of_cdk = [f"tools/deploy_local/{name}" for name in ("package.json", "package-lock.json", "npmrc")]
    for name in ("Makefile", "tools/link_checkout.py", *pins, *of_cdk):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    make = ["make", "--dry-run", "deploy", "ENV=dev"]
    told = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=True, env=without_make())
    assert ".venv/bin/python -m venv --clear --without-pip .venv-ministack" in told.stdout
    assert sorted(tmp_path.rglob("*")) == before


def without_make() -> dict[str, str]:
    """The environment of this process, without what a make above it has left there."""
    left = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ENV"}
    return {name: value for name, value in os.environ.items() if name not in left}


def test_a_wrong_value_in_an_environment_is_one_line(
    checkout: Path, dependencies: Path, context: dict[str, Any]
) -> None:
    environments = checkout / "stacks/environments.py"
    environments.write_text(environments.read_text().replace("schedules_enabled=False", 'schedules_enabled="no"'))
    done = synthesize(checkout, dependencies, context, "prod")
    assert done.returncode == 1
    assert done.stderr == "rollcall: environment dev: schedules_enabled is 'no'; take True or False\n"


def test_a_system_may_have_a_name_of_two_words(checkout: Path, dependencies: Path, context: dict[str, Any]) -> None:
    """Its folder is a package of Python, which takes no hyphen, and a stack's name no underscore."""
    (checkout / "functions/jobs/transfers").rename(checkout / "functions/jobs/money_transfers")
    for file in (checkout / "functions/jobs/money_transfers").glob("*.py"):
        file.write_text(file.read_text().replace("jobs.transfers", "jobs.money_transfers"))
    environments = checkout / "stacks/environments.py"
    environments.write_text(environments.read_text().replace('"transfers"', '"money_transfers"'))
    done = synthesize(checkout, dependencies, context, "prod")
    assert done.returncode == 0, done.stderr
    stacks = {f"rollcall-prod-{kind}-money-transfers" for kind in ("jobs", "tables", "dashboard")}
    assert stacks <= set(templates(checkout))


def test_a_layer_that_is_not_built_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        app.main(dependencies=tmp_path / "arm64")
    assert end.value.code == f"rollcall: there is no layer of third-party packages in {tmp_path}/arm64; run make layer"


def test_cfn_lint_finds_nothing(clouds: dict[str, Cloud]) -> None:
    files = sorted(str(file) for file in clouds["dev"].folder.glob("*.template.json"))
    assert len(files) >= 2 * len(clouds)
    lint = [sys.executable, "-c", "from cfnlint.runner.cli import main; main()", "--ignore-checks", IGNORED]
    command = [*lint, "--regions", "eu-west-1", "--template", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
