"""The import law: core <- adapters <- engine <- functions, core <- stacks, and nobody but tests imports tools."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from rollcall.core.catalog import catalog

ROOT = Path(__file__).resolve().parents[1]
LAYER = Path("layers/rollcall/python")
RECORDER = ROOT / "tests/unit/import_recorder.py"

_BELOW_THE_ENGINE = ("rollcall.core*", "rollcall.adapters*", "botocore.exceptions")


def _wings(*names: str) -> tuple[str, ...]:
    return tuple(f"rollcall.engine.{name}*" for name in names)


#: What each part may import beside the standard library, itself included, as patterns; the longest name counts.
#: {package} is the importing file's own.
LAW = {
    "app": ("rollcall.core*", "stacks*", "aws_cdk*"),
    "bench": ("*",),
    "docs": ("rollcall", "pydantic*", "functions.jobs*"),
    "functions": (
        "rollcall.core*", "rollcall.adapters*", "rollcall.engine*", "functions._*", "{package}._*",
        "aws_lambda_powertools*", "botocore.exceptions",
    ),
    "functions.jobs": ("rollcall", "{package}._*", "pydantic*"),
    "layers": (),
    "rollcall": ("rollcall.core*",),
    "rollcall.adapters": (
        "rollcall.core*", "rollcall.adapters*",
        "boto3*", "botocore*", "mypy_boto3_*", "httptools*", "ijson*", "urllib3*",
    ),
    "rollcall.core": ("rollcall.core*", "pydantic*"),
    # The wings of the adapters: the ledger and HTTP know neither each other nor what else there is.
    "rollcall.adapters.http": (
        "rollcall.core*", "rollcall.adapters.http*", "rollcall.adapters.secrets", "rollcall.adapters.decompression",
        "httptools*",
    ),
    "rollcall.adapters.ledger": ("rollcall.core*", "rollcall.adapters.ledger*", "mypy_boto3_*", "botocore*"),
    # The wings of the engine, from the lowest to the highest: each imports itself and those below it.
    "rollcall.engine": (),
    "rollcall.engine.runs": (*_BELOW_THE_ENGINE, "rollcall.engine.runs*"),
    "rollcall.engine.worker": (*_BELOW_THE_ENGINE, "rollcall.engine.worker*"),
    "rollcall.engine.fan_out": (*_BELOW_THE_ENGINE, *_wings("runs", "worker", "fan_out")),
    "rollcall.engine.batch": (*_BELOW_THE_ENGINE, *_wings("runs", "worker", "fan_out", "batch")),
    "rollcall.engine.watchdog": (*_BELOW_THE_ENGINE, *_wings("runs", "fan_out", "watchdog")),
    "stacks": ("rollcall.core*", "stacks*", "aws_cdk*", "constructs*"),
    "tests": ("*",),
    # It deploys the stacks, and looks at what was deployed.
    "tools.deploy_local": ("rollcall*", "stacks*", "tools*", "aws_cdk*", "boto3*", "typer*"),
    "tools.drawings": ("rollcall*", "stacks*", "tools*", "aws_cdk*"),
    # Clients come from the adapters; what AWS answers them with is told by name.
    "tools": ("rollcall*", "functions*", "tools*", "pydantic*", "typer*", "rich*", "botocore.exceptions"),
    # It stands in for AWS itself, with credentials of its own.
    "tools.local_cloud": (
        "rollcall*", "functions*", "tools*", "boto3*", "botocore*", "mypy_boto3_*", "ministack*", "hypercorn*",
    ),
}  # fmt: skip

#: What the first import of a job may not cost, and what a declaration has no business with.
HEAVY = {"aws_cdk", "aws_lambda_powertools", "boto3", "botocore", "constructs", "httptools", "ijson", "urllib3"}


# --- Reading the sources ---


def sources(root: Path) -> dict[str, Path]:
    """The project's files by module name, whatever is installed or built beside them left out."""
    found = [*root.glob("*.py")]
    for folder in root.glob("[!.]*/"):
        found += [path for path in folder.rglob("*.py") if not {"build", "cdk.out"} & {*path.relative_to(root).parts}]
    return {module_of(path.relative_to(root)): path for path in sorted(found)}


def module_of(path: Path) -> str:
    parts = (path.relative_to(LAYER) if path.is_relative_to(LAYER) else path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module: str, path: Path) -> str:
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def imports(path: Path, modules: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """The line and the name of every module that a file imports, wherever in the file, also for type checkers only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, name.name) for name in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                origin = "." * level + (module or "")
                deeper = [f"{origin}.{name.name}" for name in names]
                yield from ((node.lineno, name if name in modules else origin) for name in deeper)
            case ast.Call(
                func=ast.Name(id=function) | ast.Attribute(attr=function), args=[ast.Constant(str(name)), *_]
            ):
                if function in {"import_module", "__import__"}:
                    yield node.lineno, name


def violations(root: Path) -> list[str]:
    """Every import that the law does not allow, as `file:line imports module`."""
    modules = sources(root)
    found = []
    for module, path in modules.items():
        allowed = [pattern.format(package=package_of(module, path)) for pattern in allowed_to(module)]
        for line, name in imports(path, modules):
            if name.partition(".")[0] not in sys.stdlib_module_names and not any(
                fnmatchcase(name, pattern) for pattern in allowed
            ):
                found.append(f"{path.relative_to(root)}:{line} imports {name}")
    return found


def allowed_to(module: str) -> tuple[str, ...]:
    """What the law has for the part that `module` belongs to; nothing for a part that it does not know."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((LAW[name] for name in names if name in LAW), ())


# --- The law ---


def test_every_import_goes_the_right_way() -> None:
    assert violations(ROOT) == []


@pytest.mark.parametrize("part", ["app", "functions", "rollcall.core", "rollcall.engine", "stacks", "tests", "tools"])
def test_the_law_is_held_over_every_part(part: str) -> None:
    assert any(f"{module}.".startswith(f"{part}.") for module in sources(ROOT))


CORE, ADAPTER, ENGINE = (f"{LAYER}/rollcall/{part}/part.py" for part in ("core", "adapters", "engine/runs"))
LEDGER, RUNS, WORKER, FAN_OUT, BATCH, WATCHDOG = (
    f"{LAYER}/rollcall/{wing}/part.py"
    for wing in ("adapters/ledger", "engine/runs", "engine/worker", "engine/fan_out", "engine/batch", "engine/watchdog")
)
HANDLER, JOB = "functions/worker/handler.py", "functions/jobs/bank/transfers.py"


@pytest.mark.parametrize(
    ("file", "statement", "imported"),
    [
        (CORE, "import boto3", "boto3"),
        (CORE, "import rollcall.adapters.queue", "rollcall.adapters.queue"),
        (CORE, "from rollcall import adapters", "rollcall.adapters"),
        (CORE, "from ..adapters import queue", "..adapters"),
        (CORE, "def later():\n    import httptools", "httptools"),
        (CORE, "if TYPE_CHECKING:\n    from mypy_boto3_sqs import SQSClient", "mypy_boto3_sqs"),
        (CORE, "importlib.import_module('boto3')", "boto3"),
        (CORE, "__import__('boto3')", "boto3"),
        (ADAPTER, "from rollcall.engine.worker.worker import Worker", "rollcall.engine.worker.worker"),
        (ADAPTER, "import functions._runtime", "functions._runtime"),
        (ENGINE, "import boto3", "boto3"),
        (ENGINE, "from botocore.config import Config", "botocore.config"),
        (ENGINE, "from functions._runtime import Runtime", "functions._runtime"),
        (LEDGER, "from rollcall.adapters.queue import Queue", "rollcall.adapters.queue"),
        (RUNS, "from rollcall.engine.worker import messages", "rollcall.engine.worker"),
        (RUNS, "from rollcall.engine.fan_out import dispatch", "rollcall.engine.fan_out"),
        (WORKER, "from rollcall.engine.fan_out import dispatch", "rollcall.engine.fan_out"),
        (WORKER, "from rollcall.engine.batch import batch_handler", "rollcall.engine.batch"),
        (FAN_OUT, "from rollcall.engine.watchdog import missed_runs", "rollcall.engine.watchdog"),
        (BATCH, "from rollcall.engine.watchdog import missed_runs", "rollcall.engine.watchdog"),
        (WATCHDOG, "from rollcall.engine.worker import messages", "rollcall.engine.worker"),
        (f"{LAYER}/rollcall/engine/loose.py", "from rollcall.core.tree import Tree", "rollcall.core.tree"),
        (HANDLER, "import boto3", "boto3"),
        (HANDLER, "from stacks.ledger import Ledger", "stacks.ledger"),
        (HANDLER, "import aws_cdk", "aws_cdk"),
        (HANDLER, "from tools.cli import main", "tools.cli"),
        (HANDLER, "from functions.fan_out.handler import handler", "functions.fan_out.handler"),
        (HANDLER, "from functions.jobs.bank.transfers import job", "functions.jobs.bank.transfers"),
        (JOB, "from rollcall.core.tree import Tree", "rollcall.core.tree"),
        (JOB, "from rollcall import core", "rollcall.core"),
        (JOB, "import requests", "requests"),
        (JOB, "from functions.jobs.bank.refunds import job", "functions.jobs.bank.refunds"),
        (JOB, "from functions.jobs.books._targets import BOOKS", "functions.jobs.books._targets"),
        (JOB, "from functions._runtime import Runtime", "functions._runtime"),
        ("stacks/part.py", "from functions.worker.handler import handler", "functions.worker.handler"),
        ("stacks/part.py", "from functions.jobs.bank.transfers import job", "functions.jobs.bank.transfers"),
        ("stacks/part.py", "from rollcall.adapters.queue import Queue", "rollcall.adapters.queue"),
        ("stacks/part.py", "from rollcall.engine import worker", "rollcall.engine"),
        ("stacks/part.py", "import tools.cli", "tools.cli"),
        ("app.py", "from rollcall.adapters.queue import Queue", "rollcall.adapters.queue"),
        ("tools/cli/part.py", "import boto3", "boto3"),
        ("tools/cli/part.py", "from botocore.config import Config", "botocore.config"),
        ("tools/cli/part.py", "import stacks.ledger", "stacks.ledger"),
        ("tools/cli/part.py", "import aws_cdk", "aws_cdk"),
        ("tools/local_cloud/part.py", "from aws_cdk import App", "aws_cdk"),
        ("layers/dependencies/build.py", "import rollcall", "rollcall"),
        (f"{LAYER}/rollcall/__init__.py", "from rollcall.adapters.queue import Queue", "rollcall.adapters.queue"),
        ("scripts/new.py", "import boto3", "boto3"),
    ],
)  # fmt: skip
def test_an_import_against_the_law_is_found(tmp_path: Path, file: str, statement: str, imported: str) -> None:
    write(tmp_path, f"{LAYER}/rollcall/core/__init__.py", "")
    write(tmp_path, f"{LAYER}/rollcall/adapters/__init__.py", "")
    write(tmp_path, file, statement)
    assert violations(tmp_path) == [f"{file}:{statement.count(chr(10)) + 1} imports {imported}"]


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        (CORE, "import json, pydantic\nfrom rollcall.core.tree import Tree\nfrom pydantic_core import ValidationError"),
        (ADAPTER, "import boto3, httptools, ijson, urllib3\nfrom rollcall.core.tree import Tree"),
        (ENGINE, "from botocore.exceptions import ClientError\nfrom rollcall.adapters.queue import Queue"),
        (HANDLER, "from functions._runtime import Runtime\nfrom rollcall.engine.worker.worker import Worker"),
        (JOB, "from rollcall import Job\nfrom functions.jobs.bank._targets import BANK\nfrom decimal import Decimal"),
        ("stacks/part.py", "from rollcall.core.catalog import catalog\nfrom constructs import Construct"),
        ("tests/unit/part.py", "import tools.cli, stacks.ledger, boto3"),
        ("bench/part.py", "import tools.cli, boto3"),
        (".venv/lib/python3.11/site-packages/part.py", "import boto3"),
        ("layers/dependencies/build/python/part.py", "import boto3"),
    ],
)
def test_an_import_that_the_law_allows_is_not_complained_about(tmp_path: Path, file: str, statement: str) -> None:
    write(tmp_path, file, statement)
    assert violations(tmp_path) == []


def write(root: Path, file: str, text: str) -> None:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# --- What importing a job does ---


def recorded(module: str, *folders: Path) -> tuple[set[str], list[str]]:
    """Top-level packages that importing `module` loads, and the files within `folders` that read the environment."""
    paths = [str(folder) for folder in folders]
    process = subprocess.run(
        [sys.executable, str(RECORDER), module, *paths], env={}, capture_output=True, text=True, check=True
    )
    found = json.loads(process.stdout)
    readers = [file for file in found["readers"] if file.startswith(tuple(paths)) and "site-packages" not in file]
    return {name.partition(".")[0] for name in found["loaded"]}, readers


@pytest.mark.parametrize("module", [declared.module for declared in catalog().values()])
def test_importing_a_job_is_light_and_reads_no_environment(module: str) -> None:
    loaded, readers = recorded(module, ROOT / LAYER, ROOT)
    assert (loaded & HEAVY, readers) == (set(), [])


@pytest.mark.parametrize(
    "statement",
    [
        "import os; os.environ.get('STAGE')",
        "import os; os.getenv('STAGE')",
        "import os; 'STAGE' in os.environ",
        "import os; dict(os.environ)",
        "from pathlib import Path; Path.home()",
    ],
)
def test_a_job_that_reads_the_environment_is_found(tmp_path: Path, statement: str) -> None:
    write(tmp_path, "nosy.py", statement)
    assert recorded("nosy", tmp_path)[1] == [str(tmp_path / "nosy.py")]


def test_a_job_that_loads_a_client_is_found(tmp_path: Path) -> None:
    write(tmp_path, "heavy.py", "import urllib3")
    assert "urllib3" in recorded("heavy", tmp_path)[0] & HEAVY


def test_what_the_standard_library_reads_when_it_is_imported_is_not_the_jobs(tmp_path: Path) -> None:
    write(tmp_path, "innocent.py", "import zoneinfo")
    assert recorded("innocent", tmp_path)[1] == []
