"""A clone of the checkout in which a test may add jobs and leave data; the environments are the checkout's own."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.ended import Ended
from tools.local_cloud.ministack import CHECKOUT

PARTS = ("functions", "layers/rollcall", "tools")
ENVIRONMENTS = (".venv", ".venv-ministack")
MARK = "END_TO_END_RUN"
#: The file of a whole job.
BILLS = Path(__file__).parent / "jobs/bills.py"


class Running:
    """A command under way; whatever it starts carries its mark."""

    def __init__(self, root: Path, arguments: tuple[str, ...], environ: Mapping[str, str], umask: int) -> None:
        self.mark = f"{MARK}={uuid.uuid4()}"
        self.temporary = root / f"temporary-{self.mark[-12:]}"
        self.temporary.mkdir()
        marked = {MARK: self.mark.partition("=")[2], "TMPDIR": str(self.temporary)}
        self.process = subprocess.Popen(
            [str(root / ".venv/bin/rollcall"), *arguments],
            cwd=root,
            env={**os.environ, **environ, **marked},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            umask=umask,
            start_new_session=True,
        )

    def wait(self, seconds: float = 90) -> Ended:
        try:
            out, err = self.process.communicate(timeout=seconds)
        except BaseException:
            self.process.kill()
            self.process.communicate()
            raise
        return Ended(self.process.returncode, out, err)


class Clone:
    """A checkout of its own."""

    def __init__(self, root: Path, *, jobs: bool = False) -> None:
        """With the checkout's jobs, or without any."""
        self.root = root
        for part in PARTS:
            shutil.copytree(CHECKOUT / part, root / part)
        if not jobs:
            for system in (root / "functions/jobs").glob("*/"):
                shutil.rmtree(system)
        for name in ENVIRONMENTS:
            (root / name).symlink_to(CHECKOUT / name)

    def add_job(self, file: Path, system: str = "little") -> Path:
        """Add `file` as a job; its system is made where it is not there."""
        folder = self.root / "functions" / "jobs" / system
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()
        return Path(shutil.copy(file, folder))

    def start(self, *arguments: str, environ: Mapping[str, str] | None = None, umask: int = -1) -> Running:
        """Start `rollcall` with these arguments."""
        return Running(self.root, arguments, environ or {}, umask)

    def rollcall(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Ended:
        """`rollcall` with these arguments, to its end."""
        return self.start(*arguments, environ=environ).wait()
