"""One client's connection: one request after another, answered in their order."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import cast

from tools.stand_ins.http import BadRequestError, Request, RequestReader, Response, answer

#: Bytes of pipelined requests that may wait; with more the client has to wait.
_MOST_WAITING = 1024 * 1024
_LAST_CHUNK = b"0\r\n\r\n"

_logger = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """Hands each request to `serve`, which owes it one `answer`, `stream` or `hang_up`; only then comes the next."""

    def __init__(self, serve: "Callable[[Request, Connection], None]") -> None:
        self._serve = serve
        self._reader = RequestReader()
        self._request: Request | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._streaming: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._streaming is not None:
            self._streaming.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        if self._request is None:
            self._turn_to_next()
        elif len(self._reader) > _MOST_WAITING:
            self._transport.pause_reading()

    def answer(self, response: Response) -> None:
        """Answers the request at hand. Does nothing if the client is gone."""
        if self._request is None or self._transport.is_closing():
            return
        body = b"" if self._request.method == "HEAD" else response.body
        self._transport.write(response.head + body)
        self._finish(self._request)

    def hang_up(self) -> None:
        """Closes the connection without an answer to the request at hand."""
        self._transport.close()

    def stream(self, head: bytes, slices: Iterable[bytes], *, cut_off: bool = False) -> None:
        """Answers in chunks as the client takes them, `cut_off` keeps the last one back."""
        if self._transport.is_closing():
            return
        self._streaming = asyncio.get_running_loop().create_task(self._stream(head, slices, cut_off))

    async def _stream(self, head: bytes, slices: Iterable[bytes], cut_off: bool) -> None:
        try:
            self._transport.write(head)
            for piece in slices:
                self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await asyncio.sleep(0)
                await self._writable.wait()
        except Exception:
            _logger.exception("The report broke off")
            cut_off = True
        if cut_off or self._request is None:
            self._transport.close()
            return
        self._transport.write(_LAST_CHUNK)
        self._finish(self._request)

    def _finish(self, request: Request) -> None:
        self._request = None
        if request.headers.get("connection", "").lower() == "close":
            self._transport.close()
        elif len(self._reader):
            asyncio.get_running_loop().call_soon(self._turn_to_next)

    def _turn_to_next(self) -> None:
        if self._request is not None or self._transport.is_closing():
            return
        try:
            self._request = self._reader.next()
        except BadRequestError as error:
            refusal = answer(error.status, {"error": str(error)}, "Connection: close")
            self._transport.write(refusal.head + refusal.body)
            self._transport.close()
            return
        if self._request is not None:
            self._serve(self._request, self)
        self._transport.resume_reading()
