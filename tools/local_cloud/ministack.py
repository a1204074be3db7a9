"""MiniStack as a process: on loopback, on a free port, on temporary or kept data, and never outliving its parent."""

import os
import socket
import subprocess
import time
from pathlib import Path

from tools.local_cloud.isolation import isolated
from tools.local_cloud.logs import last_line
from tools.local_cloud.ministack_batches import FUNCTIONS

CHECKOUT = Path(__file__).resolve().parents[2]
#: MiniStack pins botocore exactly, so it has an environment of its own.
PYTHON = CHECKOUT / ".venv-ministack" / "bin" / "python"
START_SECONDS = 20.0
STOP_SECONDS = 10.0

#: Runs in MiniStack's environment: ends when standard input does, so it never outlives who started it.
_LAUNCHER = f"""
import os, signal, sys, threading
def end_with_parent():
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=end_with_parent, daemon=True).start()
sys.path.append({str(CHECKOUT)!r})
from tools.local_cloud import ministack_batches, ministack_queues
ministack_queues.apply()
ministack_batches.apply()
from ministack.app import main
sys.exit(main())
"""


class MiniStackError(Exception):
    """MiniStack is not there, did not start, or failed in the middle."""


class MiniStack:
    """A running MiniStack."""

    def __init__(
        self,
        folder: Path,
        *,
        persistent: bool = False,
        port: int | None = None,
        prelude: str = "",
        functions: str | None = None,
    ) -> None:
        """Start it with its data in `folder`, after `prelude`, some Python. Raises MiniStackError.

        `functions` is where its state machines invoke functions; None: in MiniStack itself.
        """
        if not PYTHON.exists():
            raise MiniStackError("MiniStack is not installed; run `make install`, which every make target does")
        self._persistent = persistent
        self.port = port or _free_port()
        _check_free(self.port)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._log = folder / "ministack.log"
        environ = (
            isolated(os.environ)
            | {
                "BIND_HOST": "127.0.0.1",
                "GATEWAY_PORT": str(self.port),
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "STATE_DIR": str(folder / "state"),
                "S3_DATA_DIR": str(folder / "s3"),
                "PERSIST_STATE": "1" if persistent else "0",
                "S3_PERSIST": "1" if persistent else "0",
                "LOG_LEVEL": "WARNING",
                "SFTP_ENABLED": "0",
            }
            | ({FUNCTIONS: functions} if functions is not None else {})
        )
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(PYTHON), "-c", prelude + _LAUNCHER],
                env=environ,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_it_listens()

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0 and self.process.poll() is None:
                    return
            time.sleep(0.02)
        self.stop()
        raise MiniStackError(f"MiniStack did not start on 127.0.0.1:{self.port}: {self._said()}")

    def last_words(self) -> str | None:
        """What it said before it ended; None while it runs."""
        return self._said() if self.process.poll() is not None else None

    def _said(self) -> str:
        return last_line(self._log) or "it said nothing"

    def stop(self) -> None:
        """End it; kept data is written before, for nothing else is there a reason to wait."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        if not self._persistent:
            self.process.kill()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _check_free(port: int) -> None:
    """Whoever listens there already would be taken for MiniStack."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise MiniStackError(
                f"port {port} of 127.0.0.1 is not free: {error.strerror}; pass another --port, or none for a free one"
            ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
