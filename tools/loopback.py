"""Ports on loopback that only the processes of one run can use.

Any user of this machine can connect to such a port, and any web page can have a browser send requests to it. Every
server of ours therefore refuses a request that does not prove that it belongs to the run. The module also runs in
MiniStack's environment, so it imports only the standard library.
"""

import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import Self

ADDRESS = "127.0.0.1"
#: Connections that may wait for a server that is still starting.
BACKLOG = 1024
#: Umask of every process that writes files: they may hold payloads, so only their owner reads them.
PRIVATE_UMASK = 0o077
#: Random bytes of a key or a token: too many to guess.
RANDOM_BYTES = 16

#: Headers that a browser adds to a request of a web page, and that no client of ours sends.
_OF_BROWSERS = frozenset({"origin", "sec-fetch-site", "sec-fetch-mode", "access-control-request-method"})
#: The beginning of an Authorization header that a client of AWS writes
#: (https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html).
_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/")


@dataclass(frozen=True, slots=True)
class Keys:
    """AWS credentials that open the ports of one run and nothing else."""

    access_key_id: str
    secret_access_key: str

    @classmethod
    def fresh(cls) -> Self:
        """Return keys that nobody can guess."""
        return cls(f"ROLLCALL{secrets.token_hex(RANDOM_BYTES).upper()}", secrets.token_hex(RANDOM_BYTES))

    def environ(self) -> dict[str, str]:
        """Return the variables that SDKs read."""
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key}

    @property
    def authorization(self) -> str:
        """An Authorization header that `signs` accepts, for clients that sign nothing."""
        return f"AWS4-HMAC-SHA256 Credential={self.access_key_id}/"


def listening(port: int | None = None) -> socket.socket:
    """Return a socket that listens on loopback, on a free port if none is given.

    Raises OSError if the port is taken.

    A process inherits the socket instead of binding a port that was free a moment ago: in between, somebody else could
    listen there and receive what is meant for us.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((ADDRESS, port or 0))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def authority(port: int) -> str:
    """Return the Host header of requests to a port of ours."""
    return f"{ADDRESS}:{port}"


def is_local(headers: Mapping[str, str], host: str) -> bool:
    """Return whether a request names `host` exactly, and no browser sent it.

    The names in `headers` are in lower case.

    A web page whose name was rebound to loopback names another host, and every request to another origin that may
    change something names its own.
    """
    return headers.get("host") == host and _OF_BROWSERS.isdisjoint(headers)


def signs(authorization: str, access_key_id: str) -> bool:
    """Return whether an Authorization header names this access key or a session's.

    The access key of a session begins with this one.

    The signature itself is not verified.
    """
    found = _CREDENTIAL.match(authorization)
    return found is not None and compare_digest(found[1][: len(access_key_id)].encode(), access_key_id.encode())


def token() -> str:
    """Return a first path segment that nobody can guess."""
    return secrets.token_urlsafe(RANDOM_BYTES)
