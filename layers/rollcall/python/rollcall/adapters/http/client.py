"""HTTP to a job's target: one pool of kept connections per environment of a function."""

import asyncio
import ssl
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from rollcall.adapters.http.request import Origin, names_authorization, written
from rollcall.adapters.secrets import Authorization, Credentials, Secrets
from rollcall.core.call import Request, Response
from rollcall.core.errors import NotSent, Unanswered
from rollcall.core.target import ANSWER_BYTES, Location

if TYPE_CHECKING:
    from rollcall.adapters.http.connection import Connection

#: A connection that takes longer was never made: nothing was sent. Half of a call's time, if that is less.
CONNECT_SECONDS = 5.0
UNAUTHORIZED = 401


class TargetClient:
    """Sends requests to one target. Belongs to one event loop; the parser is imported with the first connection.

    No redirect is followed, no cookie kept, no proxy used, and no request sent again by itself: whether to call again
    is for the job's policy to say, and for the count of attempts to know. The one exception is an answer of 401 where
    the target's secret has changed since: it proves that nothing was done, and the request goes out once more with
    the new credentials.
    """

    def __init__(
        self, location: Location, secrets: Secrets, timeout: timedelta, connections: int, most: int = ANSWER_BYTES
    ) -> None:
        """`timeout` is for connecting and the whole answer; at most `connections` are open, further requests wait.

        `most` are the bytes of an answer's body; one of a larger answer is taken for unanswered.
        """
        self._url = location.url
        self._credentials = Credentials(secrets, location.secret) if location.secret is not None else None
        self._seconds = timeout.total_seconds()
        self._most = most
        self._free = asyncio.Semaphore(connections)
        self._kept: list[Connection] = []
        self._origin: Origin | None = None
        self._tls: ssl.SSLContext | None = None

    async def send(self, request: Request) -> Response:
        """The target's answer, whatever its status.

        Raises NotSent where nothing can have been done: no connection, TLS failure, a URL that is none. Raises
        Unanswered where a byte of the request was written and no whole answer came, and Rejected for a request that
        cannot be written (a line break in a header, a path that is none).
        """
        if self._credentials is None or names_authorization(request):
            return await self._exchange(request, None, self._until())
        authorization = await self._credentials.present()
        until = self._until()
        response = await self._exchange(request, authorization, until)
        if response.status == UNAUTHORIZED:
            newer = await self._credentials.newer(authorization)
            if newer is not None:
                response = await self._exchange(request, newer, until)
        return response

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + self._seconds

    async def _exchange(self, request: Request, authorization: Authorization | None, until: float) -> Response:
        origin = self._parsed(request)
        data = written(origin, request, authorization.header if authorization is not None else None)
        connection: Connection | None = None
        try:
            async with asyncio.timeout_at(until), self._free:
                connection = self._take() or await self._connect(origin)
                try:
                    return await connection.exchange(data, request.method)
                finally:
                    self._put_back(connection)
        except TimeoutError as error:
            if connection is None:
                raise NotSent(f"{_shown(origin, request)}: no connection in time") from error
            raise Unanswered(f"{_shown(origin, request)}: no answer within {self._seconds:g} s") from error
        except (OSError, ValueError) as error:
            kind = NotSent if connection is None else Unanswered
            raise kind(f"{_shown(origin, request)}: {str(error) or type(error).__name__}") from error

    def _parsed(self, request: Request) -> Origin:
        if self._origin is None:
            try:
                self._origin = Origin.of(self._url)
            except ValueError as error:
                raise NotSent(f"{request.method} {request.path}: {error}") from error
        return self._origin

    def _take(self) -> "Connection | None":
        """A kept connection that the target has not closed; looked at right before it is written to."""
        while self._kept:
            connection = self._kept.pop()
            if connection.still_open():
                return connection
            connection.abort()
        return None

    def _put_back(self, connection: "Connection") -> None:
        if connection.may_be_kept():
            self._kept.append(connection)
        else:
            connection.abort()

    async def _connect(self, origin: Origin) -> "Connection":
        from rollcall.adapters.http.connection import Connection

        if origin.tls and self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        async with asyncio.timeout(min(self._seconds / 2, CONNECT_SECONDS)):
            _, connection = await asyncio.get_running_loop().create_connection(
                partial(Connection, self._most), origin.host, origin.port, ssl=self._tls
            )
            return connection

    async def close(self) -> None:
        """Close the kept connections."""
        while self._kept:
            self._kept.pop().abort()
        await asyncio.sleep(0)


def _shown(origin: Origin, request: Request) -> str:
    return f"{request.method} {origin.url}{request.path}"
