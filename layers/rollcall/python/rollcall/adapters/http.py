"""HTTP to a job's target: one pool of kept connections per environment of a function."""

import asyncio
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

from rollcall.adapters.secrets import Secrets
from rollcall.core.call import Request, Response
from rollcall.core.errors import NotSent, Unanswered
from rollcall.core.target import Location

if TYPE_CHECKING:
    import aiohttp


#: A connection that takes longer was never made: nothing was sent. Half of a call's time, if that is less.
CONNECT_SECONDS = 5.0


class TargetClient:
    """Sends requests to one target. Belongs to one event loop; aiohttp is imported with the first request."""

    def __init__(self, location: Location, secrets: Secrets, timeout: timedelta, connections: int) -> None:
        self._location = location
        self._secrets = secrets
        self._timeout = timeout
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> "aiohttp.ClientSession":
        import aiohttp

        headers, seconds = {"User-Agent": "rollcall"}, self._timeout.total_seconds()
        if self._location.secret is not None:
            headers["Authorization"] = self._secrets.authorization(self._location.secret)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds / 2, CONNECT_SECONDS)),
            headers=headers,
            trust_env=False,
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        # aiohttp would send a PUT or DELETE again by itself when a kept connection breaks. Whether to call again is
        # for the job's policy to say, and for the count of attempts to know; there is no public switch for it.
        session._retry_connection = False
        return session

    async def send(self, request: Request) -> Response:
        """The target's answer, whatever its status. Raises NotSent or Unanswered."""
        import aiohttp

        if self._session is None:
            self._session = self._open()
        url = self._location.url.rstrip("/") + request.path
        try:
            async with self._session.request(
                request.method, url, data=request.body, headers=request.headers, allow_redirects=False
            ) as answer:
                body = await answer.read()
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Response(answer.status, headers, body)
        except aiohttp.ConnectionTimeoutError as error:
            raise NotSent(f"{request.method} {url}: no connection in time") from error
        except (aiohttp.ClientConnectorError, ssl.SSLError, aiohttp.InvalidURL) as error:
            raise NotSent(f"{request.method} {url}: {error}") from error
        except TimeoutError as error:
            raise Unanswered(f"{request.method} {url}: no answer within {self._timeout.total_seconds():g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unanswered(f"{request.method} {url}: {str(error) or type(error).__name__}") from error

    async def close(self) -> None:
        """Close the kept connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
            await asyncio.sleep(0)
