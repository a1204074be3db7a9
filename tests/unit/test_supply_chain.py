"""Everything that is installed has a known hash, and nothing of it runs while it is installed."""

import ast
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRUNED = {"build", "cdk.out", "node_modules"}
#: Targets that install something, or write what is installed.
INSTALLING = ("install", "install-dev", "layer", "layer-here", "cdk", "pins")
HASH = re.compile(r"sha256:[0-9a-f]{64}")
LOCK = json.loads((ROOT / "tools/deploy_local/package-lock.json").read_text())


def files(pattern: str) -> list[Path]:
    """The checkout's own, without what is installed or built."""
    found = [*ROOT.glob(pattern)]
    for folder in ROOT.glob("[!.]*/"):
        found += folder.rglob(pattern)
    return sorted({path for path in found if not PRUNED & {*path.relative_to(ROOT).parts}})


REQUIREMENTS = files("*requirements*.txt")


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What make would do in a checkout without any environment, a command a line."""
    checkout = tmp_path_factory.mktemp("checkout")
    named = [ROOT / name for name in ("Makefile", "pyproject.toml", "tools/link_checkout.py")]
    sources = [*named, *REQUIREMENTS, *(ROOT / "tools/deploy_local").glob("*[!y]")]
    for path in sources:
        if path.is_file():
            copy = checkout / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    make = shutil.which("make")
    assert make is not None
    told = [
        subprocess.run([make, "-n", target], cwd=checkout, env=environ, capture_output=True, check=True, text=True)
        for target in INSTALLING
    ]
    lines = "".join(each.stdout for each in told).replace("\\\n", " ").splitlines()
    return [command for line in lines for command in re.split(r"\s*(?:;|&&|\|\|)\s*", line)]


def called(commands: list[str], words: str) -> list[str]:
    return sorted({command for command in commands if re.search(words, command) and not command.startswith("echo")})


# --- pip ---


def test_pip_installs_wheels_with_known_hashes_alone(commands: list[str]) -> None:
    pip = called(commands, r"\bpip\b.* install ")
    assert len(pip) == 4
    for command in pip:
        assert " --require-hashes " in command
        assert " --only-binary=:all: " in command
        assert re.search(r" --requirement \S+requirements\.txt| --requirement requirements\.txt", command)


def test_every_file_that_is_installed_is_looked_at_here(commands: list[str]) -> None:
    named = {path for command in called(commands, "pip") for path in re.findall(r"--requirement (\S+)", command)}
    assert {str(path.relative_to(ROOT)) for path in REQUIREMENTS} == named | {"layers/dependencies/requirements.txt"}


def test_uv_pins_wheels_alone_and_itself(commands: list[str]) -> None:
    uv = called(commands, r"uv pip compile")
    written = {re.findall(r"--output-file (\S+)", command)[0] for command in uv}
    assert written == {str(path.relative_to(ROOT)) for path in REQUIREMENTS}
    for command in uv:
        assert " --generate-hashes " in command
        assert " --only-binary=:all: " in command
    [pinned] = [line for line in (ROOT / "tools/pins-requirements.txt").read_text().splitlines() if "==" in line]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["pins"] == [pinned.split()[0]]


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_requirement_is_one_version_with_hashes(path: Path) -> None:
    requirements = [line for line in path.read_text().replace("\\\n", " ").splitlines() if not line.startswith("#")]
    requirements = [line.split("#")[0] for line in requirements if line.split("#")[0].strip()]
    assert requirements
    for line in requirements:
        assert re.match(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==[0-9][^\s=]*( ; .*)? +--hash=", line), line
        assert HASH.findall(line), line
        assert set(re.findall(r"--(\w+)", line)) == {"hash"}, line


def test_nothing_else_of_ours_installs_packages() -> None:
    """Python code starts pip from the layer's build, and a shell script from nowhere."""
    code = [path for path in files("*.py") if "tests" not in path.relative_to(ROOT).parts]
    starting = [str(path.relative_to(ROOT)) for path in code if _names_pip(path)]
    assert starting == ["layers/dependencies/build.py"]
    scripts = [*files("*.sh"), *(ROOT / ".ci").iterdir()]
    assert [path for path in scripts if re.search(r"\b(pip|npm|uv|curl|wget)\b", path.read_text())] == []


def _names_pip(path: Path) -> bool:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return any(isinstance(node, ast.Constant) and node.value == "pip" for node in nodes)


# --- npm ---


def test_npm_runs_no_scripts(commands: list[str]) -> None:
    npm = called(commands, r"npm-cli\.js")
    assert len(npm) == 2
    for command in npm:
        assert re.search(r'npm-cli\.js" (ci|install --package-lock-only) --ignore-scripts ', command)
    assert "ignore-scripts=true" in (ROOT / "tools/deploy_local/npmrc").read_text().splitlines()


def test_every_package_of_the_lock_has_a_hash_and_no_scripts() -> None:
    packages = {name: package for name, package in LOCK["packages"].items() if name}
    assert packages
    for name, package in packages.items():
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", package["integrity"]), name
        assert "hasInstallScript" not in package, name
    declared = json.loads((ROOT / "tools/deploy_local/package.json").read_text())
    assert LOCK["packages"][""]["dependencies"] == declared["dependencies"]
    assert "scripts" not in declared
