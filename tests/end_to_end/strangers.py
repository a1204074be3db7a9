"""A stranger on this machine: finds every port that a command opens, and attacks each as soon as it listens."""

import http.client
import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.end_to_end.processes import environments

LISTENS = "0A"
LOOK_SECONDS = 0.02
#: What a port may answer a stranger with.
REFUSED = frozenset({400, 401, 403, 404, 405, 501})


@dataclass(frozen=True)
class Attack:
    """A request that must be refused."""

    name: str
    method: str = "GET"
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """What a port answered an attack with."""

    port: int
    attack: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def refused(self) -> bool:
        allowed = [name for name in self.headers if name.lower().startswith("access-control-")]
        return self.status in REFUSED and not allowed


def attacks(key: str | None) -> Iterator[Attack]:
    """All attacks of somebody without the run's key, and those of a web page that has it, if `key` is known."""
    yield Attack("no credentials")
    yield Attack("an admin path", path="/_ministack/health")
    yield Attack("a reset", "POST", "/_ministack/reset")
    yield Attack("another emulator's admin path", path="/_localstack/health")
    yield Attack("the stand-ins' own path", "POST", "/-/reset")
    yield Attack("an uploaded function", "POST", "/2015-03-31/functions", _FROM_A_PAGE, _function())
    yield Attack("an invocation", "POST", f"/2015-03-31/functions/{_WORKER}/invocations", _FROM_A_PAGE, b"{}")
    for guess in ("test", "local", "000000000000", "AKIAIOSFODNN7EXAMPLE", ""):
        yield Attack(f"the key {guess!r}", "POST", headers=_LIST_SECRETS | _signed(guess), body=b"{}")
    if key is not None:
        known = _LIST_SECRETS | _signed(key)
        yield Attack("a foreign origin", "POST", headers=known | {"Origin": "https://evil.example"}, body=b"{}")
        yield Attack("no origin of its own", "POST", headers=known | {"Origin": "null"}, body=b"{}")
        yield Attack("a rebound name", "POST", headers=known | {"Host": "evil.example"}, body=b"{}")
        yield Attack("another name of this machine", "POST", headers=known | {"Host": "localhost"}, body=b"{}")
        yield Attack("a browser", "POST", headers=known | {"Sec-Fetch-Site": "cross-site"}, body=b"{}")
        yield Attack("a preflight", "OPTIONS", "/2015-03-31/functions", _signed(key) | _PREFLIGHT)
        for path in ("/_ministack/reset", "//_ministack/reset", "/%5Fministack/reset", "/_aws/sqs/messages"):
            yield Attack(f"{path} with the key", "POST", path, _signed(key))
        yield Attack("a function with the key", "POST", "/2015-03-31/functions", _signed(key, "lambda"), _function())
        yield Attack("a WebSocket", headers=_signed(key) | _UPGRADE)


_WORKER = "rollcall-local-worker-bills"
_FROM_A_PAGE = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
_PREFLIGHT = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
_LIST_SECRETS = {"X-Amz-Target": "secretsmanager.ListSecrets", "Content-Type": "application/x-amz-json-1.1"}
_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def _signed(key: str, service: str = "secretsmanager") -> dict[str, str]:
    scope = f"{key}/20261201/eu-west-1/{service}/aws4_request"
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}"}


def _function() -> bytes:
    """Code that would run as the owner of the emulator."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("evil.py", "def handler(event, context):\n    return open('/etc/hostname').read()\n")
    return file.getvalue()


def reply(port: int, attack: Attack) -> Reply:
    """Make the request. Raises OSError where the port is closed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(attack.method, attack.path, attack.body or None, dict(attack.headers))
        answer = connection.getresponse()
        return Reply(port, attack.name, answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def listening_ports(pids: set[int]) -> dict[int, str]:
    """The ports on which these processes listen, each with the address that it is bound to in /proc's spelling."""
    sockets = {
        found.removeprefix("socket:[").removesuffix("]") for pid in pids for found in _open_files(pid) if ":[" in found
    }
    ports = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENS and fields[9] in sockets:
                address, _, port = fields[1].partition(":")
                ports[int(port, 16)] = address
    return ports


def _open_files(pid: int) -> list[str]:
    found: list[str] = []
    with suppress(OSError):  # It ends, or closes a file, meanwhile.
        found.extend(str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir())
    return found


def _command_line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    return ""


class Stranger:
    """A context manager: attacks every port of the processes that carry `mark` while it is entered."""

    def __init__(self, mark: str, own: Callable[[], set[int]] = set) -> None:
        """`own` finds processes that do not carry the mark."""
        self._mark = mark
        self._own = own
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._attack, daemon=True)
        #: By port: the address that it is bound to.
        self.ports: dict[int, str] = {}
        self.replies: list[Reply] = []
        #: The command lines of the processes, which everybody on this machine can read.
        self.command_lines: set[str] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def accepted(self) -> list[Reply]:
        """The attacks that succeeded."""
        return [each for each in self.replies if not each.refused]

    def _attack(self) -> None:
        attacked: set[tuple[int, bool]] = set()
        while not self._ended.is_set():
            found = environments(self._mark)
            self.command_lines |= {_command_line(pid) for pid in found}
            keys = {environ.get("AWS_ACCESS_KEY_ID", "") for environ in found.values()}
            key = next((each for each in keys if each.startswith("ROLLCALL")), None)
            for port, address in listening_ports({*found, *self._own()}).items():
                self.ports[port] = address
                if (port, key is not None) not in attacked:
                    attacked.add((port, key is not None))
                    self._attack_port(port, key)
            time.sleep(LOOK_SECONDS)

    def _attack_port(self, port: int, key: str | None) -> None:
        for attack in attacks(key):
            try:
                self.replies.append(reply(port, attack))
            except (OSError, http.client.HTTPException):  # The command has ended, or the connection was cut.
                continue
