"""The door of the stand-ins: it admits only clients that know this run's base URL."""

from collections.abc import Callable
from hmac import compare_digest

from tools.loopback import is_local, token
from tools.stand_ins.connection import Connection
from tools.stand_ins.http import Request, answer

FORBIDDEN = answer(403, {"error": "this port belongs to a run of rollcall"})


class Door:
    """Passes on requests whose path begins with the token, without it, and refuses all others."""

    def __init__(self, serve: Callable[[Request, Connection], None], host: str) -> None:
        """`host` is the Host header of requests that come to the right address."""
        self._serve = serve
        self._host = host
        self._token = token()
        #: The URL that opens the door to all stand-ins.
        self.base = f"http://{host}/{self._token}"

    def serve(self, request: Request, connection: Connection) -> None:
        """Answer a request."""
        _, first, rest = (*request.path.split("/", 2), "", "")[:3]
        if is_local(request.headers, self._host) and compare_digest(first.encode(), self._token.encode()):
            self._serve(request._replace(path=f"/{rest}"), connection)
        else:
            connection.answer(FORBIDDEN)
