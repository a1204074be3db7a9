"""What a callback gets beside its payload: an HTTP client of its target and the facts of this call."""

import json as json_
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from rollcall.core.buckets import Objects, no_buckets
from rollcall.core.errors import HttpError, NotSent, Rejected, Unanswered
from rollcall.core.paths import leaves_base
from rollcall.core.redaction import Redact, unredacted
from rollcall.core.tables import Items
from rollcall.core.target import Bucket, Table

Result = TypeVar("Result")

#: As in https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
IDEMPOTENCY_HEADER = "Idempotency-Key"
#: https://www.rfc-editor.org/rfc/rfc9110#name-safe-methods
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

#: Made once: `json.dumps` with options makes one for each call.
_COMPACT = json_.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, path relative to the target's base URL."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Response:
    """A target's answer."""

    status: int
    #: Lower-case names.
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """The parsed body. Raises ValueError where it is not JSON, or nested too deeply to be parsed."""
        try:
            return json_.loads(self.body)
        except RecursionError as error:
            raise ValueError("the answer is nested too deeply") from error


#: Sends a request and returns whatever answer came. Raises NotSent or Unanswered where none did.
Send = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class Http:
    """An HTTP client bound to the target: base URL, credentials, timeout and idempotency key are set.

    Every method returns the answer of a 2xx and raises HttpError for any other, NotSent and Unanswered where
    no answer came; let these pass, for Rollcall knows which of them to retry. An HttpError has no secret in it, also
    where the target repeats one.
    """

    _send: Send = field(repr=False)
    idempotency_key: str
    _redact: Redact = field(default=unredacted, repr=False)
    #: Whether a request of this call never got its answer.
    unanswered: bool = field(default=False, init=False)
    #: The statuses of this call's answers to requests that may change something.
    statuses: list[int] = field(default_factory=list, init=False)
    #: Whether the call has ended: what goes on of it, in a thread of its own, reaches nobody any more.
    over: bool = field(default=False, init=False)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send `json`, or `body` as it is, to `path` (with its query, beginning with /).

        What stands in a path and comes from an entry must be quoted: `urllib.parse.quote(key, safe="")`. A path with
        a segment that any server reads as `.` or `..` is refused, and with it the entry: nothing outside of the
        target's base URL is ever called.
        """
        if leaves_base(path):
            raise Rejected(
                f"the path {path!r:.200} would leave the target's own: a segment of it can be read as . or .., quoted "
                f"or not; quote what stands in it, and name the entity otherwise where its name is such a step"
            )
        if self.over:
            raise NotSent(f"{method} {path} comes after the end of its call")
        sent = {IDEMPOTENCY_HEADER: self.idempotency_key, **(headers or {})}
        if json is not None:
            sent.setdefault("Content-Type", "application/json")
            body = _COMPACT.encode(json).encode()
        try:
            response = await self._send(Request(method, path, sent, body))
        except Unanswered:
            self.unanswered = True
            raise
        if method.upper() not in SAFE_METHODS:
            self.statuses.append(response.status)
        if not 200 <= response.status < 300:
            headers = {name: self._redact(value) for name, value in response.headers.items()}
            raise HttpError(response.status, headers, self._redact(response.text))
        return response

    async def get(self, path: str) -> Response:
        return await self.request("GET", path)

    async def post(self, path: str, *, json: object = None) -> Response:
        return await self.request("POST", path, json=json)

    async def put(self, path: str, *, json: object = None) -> Response:
        return await self.request("PUT", path, json=json)

    async def patch(self, path: str, *, json: object = None) -> Response:
        return await self.request("PATCH", path, json=json)

    async def delete(self, path: str) -> Response:
        return await self.request("DELETE", path)


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at one entry."""

    run_id: str
    #: The entry's key.
    key: str
    #: The same over redeliveries, retries, crashes and redrives; ASCII.
    idempotency_key: str
    #: 1 for the first call.
    attempt: int
    #: Whether no other attempt follows this one.
    last_attempt: bool
    scheduled_for: datetime
    #: From the scheduled time to this call.
    late_by: timedelta
    #: What is left for this call before it is cut off.
    remaining: timedelta
    http: Http
    _secret: Callable[[str], str] = field(repr=False, compare=False)
    _table: Callable[[Table], Items] = field(repr=False, compare=False)
    _wait: Callable[[Coroutine[Any, Any, Any]], Any] = field(repr=False, compare=False)
    _bucket: Callable[[Bucket], Objects] = field(default=no_buckets, repr=False, compare=False)

    def secret(self, name: str) -> str:
        """The text of the secret `name`, which the job must list among its `needs`."""
        return self._secret(name)

    def table(self, table: Table) -> Items:
        """The items of a table that the job lists among its `needs`. Its methods block: for plain callbacks."""
        return self._table(table)

    def bucket(self, bucket: Bucket) -> Objects:
        """The objects of a bucket that the job lists among its `needs`. Its methods block: for plain callbacks."""
        return self._bucket(bucket)

    def wait(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """For plain callbacks: the result of an awaitable, as in `call.wait(call.http.post("/deposits"))`."""
        result: Result = self._wait(coroutine)
        return result
