"""The layer of third-party packages: built once, and again whenever it is not what was built."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "layers/dependencies/build.py"


@pytest.fixture
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("layer_build", BUILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Layer:
    """The builds of a layer, whose packages come from here and not from pip."""

    def __init__(self, module: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.builds = 0
        self.path = folder / "build/arm64"
        self._module = module
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(module, "HERE", folder)
        monkeypatch.setattr(module, "REQUIREMENTS", folder / "requirements.txt")
        monkeypatch.setattr(module, "install", self._install)
        module.REQUIREMENTS.write_text("boto3==1.44.0 --hash=sha256:0\n")

    def _install(self, target: Path, *_: str) -> None:
        self.builds += 1
        (target / "boto3").mkdir(parents=True)
        (target / "boto3/__init__.py").write_text("version = 1\n")
        (target / "boto3/empty").mkdir()
        (target / "boto3/data.so").write_bytes(b"\x7fELF")
        (target / "boto3/data.so").chmod(0o755)

    def make(self) -> int:
        """`make layer`; how often the layer has been built since the beginning."""
        self._monkeypatch.setattr(sys, "argv", ["build.py", "--architecture", "arm64"])
        self._module.main()
        return self.builds


@pytest.fixture
def layer(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layer:
    return Layer(module, tmp_path, monkeypatch)


def test_a_layer_that_is_what_was_built_is_not_built_again(layer: Layer) -> None:
    assert layer.make() == 1
    for path in layer.path.rglob("*"):
        os.utime(path, (0, 0))
    assert layer.make() == 1


def _swap(layer: Path) -> None:
    """Two files that together have the same content as before."""
    code, data = layer / "python/boto3/__init__.py", layer / "python/boto3/data.so"
    content = code.read_bytes() + data.read_bytes()
    code.write_bytes(content[:4])
    data.write_bytes(content[4:])


def _swallow(layer: Path) -> None:
    """A file is gone, and the one before it ends with what the digest has of it, but for its length."""
    code, data = layer / "python/boto3/__init__.py", layer / "python/boto3/data.so"
    code.write_bytes(code.read_bytes() + b"python/boto3/data.so\x00100755\0\0" + data.read_bytes())
    data.unlink()


def _replace(layer: Path) -> None:
    (layer / "python/boto3/empty").rmdir()
    (layer / "python/boto3/empty").touch()


def _link(layer: Path) -> None:
    path = layer / "python/boto3/__init__.py"
    elsewhere = layer.parent.parent / "elsewhere.py"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def _link_of_all(layer: Path) -> None:
    layer.rename(layer.with_name("elsewhere"))
    layer.symlink_to(layer.with_name("elsewhere"))


def _link_to_nothing(layer: Path) -> None:
    _link_of_all(layer)
    layer.with_name("elsewhere").rename(layer.with_name("gone"))


TAMPERED: dict[str, Callable[[Path], object]] = {
    "a changed file": lambda layer: (layer / "python/boto3/__init__.py").write_text("version = 2\n"),
    "a longer file": lambda layer: (layer / "python/boto3/__init__.py").write_text("version = 1\nimport evil\n"),
    "a file that is gone": lambda layer: (layer / "python/boto3/__init__.py").unlink(),
    "a file that was added": lambda layer: (layer / "python/sitecustomize.py").write_text("import evil\n"),
    "bytecode that was added": lambda layer: (layer / "python/boto3/__init__.pyc").write_bytes(b"evil"),
    "a renamed file": lambda layer: (layer / "python/boto3/data.so").rename(layer / "python/boto3/other.so"),
    "a file renamed in its place": lambda layer: (layer / "python/boto3/data.so").rename(
        layer / "python/boto3/date.so"
    ),
    "a file within another": _swallow,
    "another mode": lambda layer: (layer / "python/boto3/__init__.py").chmod(0o755),
    "an unreadable file": lambda layer: (layer / "python/boto3/data.so").chmod(0o600),
    "an empty folder that is gone": lambda layer: (layer / "python/boto3/empty").rmdir(),
    "a folder that was added": lambda layer: (layer / "python/evil").mkdir(),
    "a file in the place of a folder": _replace,
    "a link in the place of a file": _link,
    "content moved between files": _swap,
    "a link to a layer": _link_of_all,
    "a link to nothing": _link_to_nothing,
    "no layer": lambda layer: layer.rename(layer.with_name("gone")),
}


@pytest.mark.parametrize("tampered", TAMPERED)
def test_a_layer_that_is_not_what_was_built_is_built_again(layer: Layer, tampered: str) -> None:
    layer.make()
    TAMPERED[tampered](layer.path)
    assert layer.make() == 2
    assert (layer.path / "python/boto3/__init__.py").read_text() == "version = 1\n"
    assert not (layer.path / "python/sitecustomize.py").exists()
    assert layer.make() == 2


def test_a_layer_whose_stamp_was_cut_is_built_again(layer: Layer) -> None:
    layer.make()
    stamp = layer.path.with_name("arm64.built-from")
    stamp.write_text(stamp.read_text()[:-10])
    assert layer.make() == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda module, _: module.REQUIREMENTS.write_text("boto3==1.44.1 --hash=sha256:0\n"),
        lambda module, patch: patch.setattr(module, "version", lambda _: "99.0"),
        lambda module, patch: patch.setattr(module.platform, "python_version", lambda: "3.99.0"),
        lambda module, patch: patch.setattr(module.platform, "machine", lambda: "riscv64"),
    ],
    ids=["requirements", "pip", "interpreter", "machine"],
)
def test_a_layer_of_other_sources_is_built_again(
    layer: Layer, module: ModuleType, monkeypatch: pytest.MonkeyPatch, change: Callable[[ModuleType, Any], object]
) -> None:
    layer.make()
    change(module, monkeypatch)
    assert layer.make() == 2


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_a_layer_can_be_read_by_the_user_that_lambda_runs_as(layer: Layer) -> None:
    layer.make()
    modes = {path.name: path.stat().st_mode & 0o777 for path in (layer.path, *layer.path.rglob("*"))}
    assert modes == {
        "arm64": 0o755,
        "python": 0o755,
        "boto3": 0o755,
        "empty": 0o755,
        "__init__.py": 0o644,
        "data.so": 0o755,
    }


def test_the_layer_is_made_of_wheels_with_known_hashes_alone(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    module.install(tmp_path, "arm64", "3.13")
    [command] = asked
    assert {"--require-hashes", "--only-binary=:all:", "--no-deps"} <= {*command}
    assert command[command.index("--requirement") + 1] == str(ROOT / "layers/dependencies/requirements.txt")
