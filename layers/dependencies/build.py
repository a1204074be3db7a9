"""Build the layer of third-party packages from pinned wheels, without Docker and for either architecture.

    python layers/dependencies/build.py --architecture arm64

writes ``layers/dependencies/build/<architecture>/python``. The same requirements give the same files, byte
for byte: nothing is compiled, and what records the way of the installation is left out. A build that is up to
date stays as it is; one that fails leaves the last one in place.

Beside the layer stands what it was built from, and a digest of the built files. A layer of which a file was changed,
added or lost after the build is built again.
"""

import argparse
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"

#: Lambda's name of an architecture -> the one in the names of wheels.
MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}
#: The C libraries a wheel may ask for. Lambda's Python 3.12 and later run on Amazon Linux 2023: glibc 2.34.
C_LIBRARIES = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
#: The installer's notes, the command-line scripts (they name the interpreter that built), and sources.
NOISE = ("*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED", "bin", "**/*.py[ix]")


def main() -> None:
    arguments = parse_arguments()
    layer = HERE / "build" / (arguments.name or arguments.architecture)
    stamp = layer.with_name(f"{layer.name}.built-from")
    sources = fingerprint(arguments.architecture, arguments.python_version)
    if is_current(layer, stamp, sources):
        return
    build(layer, arguments.architecture, arguments.python_version)
    stamp.write_text(sources + tree_digest(layer))
    megabytes = sum(path.stat().st_size for path in layer.rglob("*") if path.is_file()) / 1e6
    sys.stdout.write(f"dependency layer for {arguments.architecture}: {megabytes:.1f} MB unzipped\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build the layer of third-party packages.")
    parser.add_argument("--architecture", choices=sorted(MACHINES), required=True)
    parser.add_argument("--python-version", default="3.13", help="of the Lambda runtime; %(default)s if not given")
    parser.add_argument("--name", help="of the folder, for a layer of another runtime; the architecture if not given")
    return parser.parse_args()


def fingerprint(architecture: str, python_version: str) -> str:
    """Name what the layer is made from, and the pip and Python that choose among its wheels; one line."""
    sources = REQUIREMENTS.read_bytes() + Path(__file__).read_bytes()
    # pip compares the markers of requirements with the Python and the machine that it runs on.
    here = f"{platform.python_implementation()} {platform.python_version()} {sys.platform} {platform.machine()}"
    digest = hashlib.sha256(sources).hexdigest()
    return f"{architecture} {python_version} from {digest} by pip {version('pip')}, {here}\n"


def is_current(layer: Path, stamp: Path, sources: str) -> bool:
    """Test whether the layer is what was built from these sources; one that cannot be read is not."""
    try:
        return stamp.read_bytes() == (sources + tree_digest(layer)).encode()
    except OSError:
        return False


def tree_digest(layer: Path) -> str:
    """Return a digest of every path in the layer with its kind, mode and content; one line."""
    digest = hashlib.sha256()
    for path in (layer, *sorted(layer.rglob("*"))):
        status = path.lstat()
        content = b""
        if stat.S_ISLNK(status.st_mode):
            content = os.fsencode(path.readlink())
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        # The length comes first, so that no content can pass for the next path.
        digest.update(
            os.fsencode(path.relative_to(layer)) + f"\0{status.st_mode:o}\0{len(content)}\0".encode() + content
        )
    return f"{digest.hexdigest()}\n"


def build(layer: Path, architecture: str, python_version: str) -> None:
    """Build beside the last layer, and take its place only when done."""
    layer.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layer.parent, prefix=f".{architecture}-") as scratch:
        fresh = Path(scratch) / "fresh"
        install(fresh / "python", architecture, python_version)
        remove_noise(fresh / "python")
        set_modes(fresh)
        if layer.exists() or layer.is_symlink():
            layer.rename(Path(scratch) / "last")
        fresh.rename(layer)


def install(target: Path, architecture: str, python_version: str) -> None:
    command = [
        *(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install"),
        *("--require-hashes", "--only-binary=:all:", "--no-deps", "--no-compile"),
        *("--implementation=cp", f"--python-version={python_version}"),
        *(f"--platform={library}_{MACHINES[architecture]}" for library in C_LIBRARIES),
        *("--target", str(target), "--requirement", str(REQUIREMENTS)),
    ]
    # What pip has to say goes to stderr: stdout is for the one line of the result.
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
        sys.exit(f"could not build the dependency layer for {architecture}; the lines above say why")


def remove_noise(packages: Path) -> None:
    noise = [path for pattern in NOISE for path in packages.glob(pattern)]
    for path in noise:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def set_modes(layer: Path) -> None:
    """Let everybody read the layer, whatever the umask of the build: Lambda runs functions as another user."""
    for path in (layer, *layer.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if executable else 0o644)


if __name__ == "__main__":
    main()
