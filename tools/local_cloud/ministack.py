"""MiniStack as a process: behind a guard, on temporary or kept data, and never outliving its parent."""

import os
import select
import socket
import subprocess
import time
from pathlib import Path

from tools.local_cloud.isolation import isolated
from tools.local_cloud.logs import last_line, private_file
from tools.local_cloud.ministack_batches import FUNCTIONS
from tools.local_cloud.ministack_guard import LISTENER
from tools.loopback import ADDRESS, PRIVATE_UMASK, Keys, authority, listening

CHECKOUT = Path(__file__).resolve().parents[2]
#: MiniStack pins botocore exactly, so it has an environment of its own.
PYTHON = CHECKOUT / ".venv-ministack" / "bin" / "python"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
#: Seconds between two looks at whether it has ended before it answers.
LOOK_SECONDS = 0.1

#: MiniStack's own environment does not have the checkout on its path.
_LAUNCHER = f"""
import sys
sys.path.append({str(CHECKOUT)!r})
from tools.local_cloud.ministack_server import main
main()
"""

#: What a run uses, and STS, which commands with --env ask for the account. Not Lambda: it runs any uploaded code.
RUN_SERVICES = frozenset({"dynamodb", "dynamodbstreams", "events", "s3", "secretsmanager", "sqs", "states", "sts"})
#: What a deployment of the stacks with the CDK's command line uses.
DEPLOYMENT_SERVICES = RUN_SERVICES | {
    *("cloudformation", "ecr", "iam", "kms", "lambda", "logs", "monitoring", "scheduler", "sns", "ssm"),
}


class MiniStackError(Exception):
    """MiniStack is not there, did not start, or failed in the middle."""


class MiniStack:
    """A running MiniStack."""

    def __init__(
        self,
        folder: Path,
        *,
        services: frozenset[str] = RUN_SERVICES,
        keys: Keys | None = None,
        persistent: bool = False,
        port: int | None = None,
        prelude: str = "",
        functions: str | None = None,
    ) -> None:
        """Start it with its data in `folder`, after `prelude`, some Python. Raises MiniStackError.

        Only requests with `keys`, by default fresh ones, reach it. `functions` is where its state machines invoke
        functions; None: in MiniStack itself.
        """
        if not PYTHON.exists():
            raise MiniStackError("MiniStack is not installed; run `make install`, which every make target does")
        self._persistent = persistent
        #: The credentials that open it.
        self.keys = keys or Keys.fresh()
        self._log = folder / "ministack.log"
        with _listener(port) as listener:
            self.port = int(listener.getsockname()[1])
            self.endpoint = f"http://{authority(self.port)}"
            environ = (
                isolated(os.environ)
                | self.keys.environ()
                | {
                    "GATEWAY_PORT": str(self.port),
                    LISTENER: str(listener.fileno()),
                    "SERVICES": ",".join(sorted(services)),
                    "HOME": str(folder),
                    "TMPDIR": str(folder),
                    "STATE_DIR": str(folder / "state"),
                    "S3_DATA_DIR": str(folder / "s3"),
                    "PERSIST_STATE": "1" if persistent else "0",
                    "S3_PERSIST": "1" if persistent else "0",
                    "LOG_LEVEL": "WARNING",
                    "SFTP_ENABLED": "0",
                    # It would end containers of another MiniStack that its user runs.
                    "DOCKER_HOST": f"unix://{os.devnull}/none",
                }
                | ({FUNCTIONS: functions} if functions is not None else {})
            )
            with private_file(self._log) as log:
                self.process = subprocess.Popen(
                    [str(PYTHON), "-c", prelude + _LAUNCHER],
                    env=environ,
                    cwd=folder,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=[listener.fileno()],
                    umask=PRIVATE_UMASK,
                    start_new_session=True,
                )
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        """Wait for the guard's refusal of a request without a key."""
        deadline = time.monotonic() + START_SECONDS
        try:
            with socket.create_connection((ADDRESS, self.port)) as connection:
                connection.sendall(f"GET / HTTP/1.1\r\nHost: {authority(self.port)}\r\n\r\n".encode())
                while time.monotonic() < deadline and self.process.poll() is None:
                    if select.select([connection], [], [], LOOK_SECONDS)[0]:
                        if connection.recv(1):
                            return
                        break
        except ConnectionError:
            pass
        self.stop()
        raise MiniStackError(f"MiniStack did not start on {authority(self.port)}: {self._said()}")

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


def _listener(port: int | None) -> socket.socket:
    try:
        return listening(port)
    except OSError as error:
        what = f"port {port} of {ADDRESS} is not free" if port else f"no port of {ADDRESS} is free"
        raise MiniStackError(f"{what}: {error.strerror}; pass another --port, or none for a free one") from error
