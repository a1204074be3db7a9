"""One connection to a target: a request, its answer, and whether the connection may serve another."""

import asyncio
import re
import select
import time
import zlib
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from rollcall.adapters.decompression import CODINGS, PIECE, Inflater
from rollcall.core.call import Response

#: Bytes of an answer's status line and headers.
MOST_HEAD = 64 * 1024
#: Headers of an answer, trailers not counted. Those of one name are joined one by one, which costs their square.
MOST_HEADERS = 256
#: Load balancers close after 60 s: a request must not cross that on its way.
IDLE_SECONDS = 50.0

_KEEP_ALIVE = re.compile(r"timeout\s*=\s*\"?(\d{1,9})")


class Connection(asyncio.Protocol):
    """Made by an event loop's `create_connection`; one request at a time.

    The body of an answer has at most `most` bytes, as it is sent and once decompressed; its head, 1xx, chunk sizes and
    trailers together at most `MOST_HEAD` more.
    The methods on_… are called by llhttp, which cuts the bytes into answers and refuses what is ambiguous.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Response] | None = None
        self._may_be_kept = False
        self._good_until = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = HttpResponseParser(self)
        self._readable = select.poll()
        self._readable.register(transport.get_extra_info("socket"), select.POLLIN)

    async def exchange(self, request: bytes, method: str) -> Response:
        """Write `request` and wait for its answer. Raises ConnectionError where no whole one comes."""
        self._without_body = method == "HEAD"
        self._may_be_kept = self._in_body = False
        self._received = 0
        self._headers: dict[str, str] = {}
        self._header_lines = 0
        self._body = bytearray()
        self._answer = self._loop.create_future()
        self._transport.write(request)
        return await self._answer

    def may_be_kept(self) -> bool:
        """Whether the answer came whole, and both sides want to go on."""
        return self._may_be_kept and not self._transport.get_write_buffer_size()

    def still_open(self) -> bool:
        """Whether a kept connection can be written to, as far as can be known.

        The socket itself is asked: the event loop may not have run since, above all while an environment of a
        function was frozen; the clock is the wall's, for the other one may stand still then, too.
        """
        return not self._transport.is_closing() and time.time() < self._good_until and not self._readable.poll(0)

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.abort()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(f"what came is no HTTP answer: {error.__context__ or error}")
        if self._answer.done():
            return
        if self._in_body and self._received > self._most + MOST_HEAD:
            self._fail(_too_large(self._most))
        elif not self._in_body and self._received > MOST_HEAD:
            self._fail(f"the head of the answer is too large: more than {MOST_HEAD:,} bytes (MOST_HEAD)")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is None or self._answer.done():
            return
        if exc is None and self._in_body and not {"content-length", "transfer-encoding"} & self._headers.keys():
            self._finish(keep=False)
        else:
            said = f": {exc}" if exc is not None else ""
            self._fail(f"the connection ended {'within' if self._received else 'before'} the answer{said}")

    def on_message_begin(self) -> None:
        self._refuse_surplus()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # a trailer
        self._header_lines += 1
        if self._header_lines > MOST_HEADERS:
            self._fail(f"the head of the answer is too large: more than {MOST_HEADERS} headers (MOST_HEADERS)")
            raise ValueError("too many headers")  # to the parser: it shall read no further
        lower, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[lower] = f"{self._headers[lower]}, {text}" if lower in self._headers else text

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._in_body = self._status >= 200
        if self._in_body and self._without_body:
            keep = self._parser.should_keep_alive()
            self._parser = HttpResponseParser(self)  # the old one waits for the body
            self._finish(keep=keep)

    def on_body(self, body: bytes) -> None:
        self._refuse_surplus()
        if len(self._body) + len(body) > self._most:
            self._fail(_too_large(self._most))
        else:
            self._body += body

    def on_message_complete(self) -> None:
        if self._in_body:
            self._finish(keep=self._parser.should_keep_alive())
        else:
            self._headers.clear()  # of a 1xx: the answer is still to come

    def _refuse_surplus(self) -> None:
        """What follows an answer belongs to no request, and nothing after it could be told apart."""
        if self._answer is None or self._answer.done():
            raise ValueError("more came than one answer")

    def _finish(self, *, keep: bool) -> None:
        if self._answer is None or self._answer.done():
            return
        try:
            body = _decoded(self._body, self._headers.get("content-encoding", ""), self._most)
        except (zlib.error, ValueError) as error:
            self._fail(f"the answer's body cannot be decompressed: {error}")
            return
        if body is None:
            self._fail(_too_large(self._most))
            return
        self._may_be_kept = keep
        self._good_until = time.time() + _idle_seconds(self._headers.get("keep-alive"))
        self._answer.set_result(Response(self._status, self._headers, body))
        self._body = bytearray()  # a kept connection keeps no answer

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(reason))
        self._may_be_kept = False


def _idle_seconds(keep_alive: str | None) -> float:
    """How long a connection is kept: less than the target says that it does, as in `timeout=5, max=100`."""
    found = _KEEP_ALIVE.search(keep_alive) if keep_alive is not None else None
    if found is None:
        return IDLE_SECONDS
    seconds = int(found[1])
    return min(IDLE_SECONDS, max(seconds - 1, seconds / 2))


def _decoded(body: bytearray, coding: str, most: int) -> bytes | None:
    """Nothing compressed is asked for, but some send it anyway; what is not gzip or deflate stays as it came.

    So does what was compressed more than once. None where it is larger than `most`: no more of it is unpacked.
    """
    if not body or coding.strip().lower() not in CODINGS:
        return bytes(body)
    inflater, whole = Inflater(), bytearray()
    for piece in inflater.inflate(body, PIECE):
        whole += piece
        if len(whole) > most:
            return None
    if not inflater.ended:
        raise ValueError("it is cut off")
    return bytes(whole)


def _too_large(most: int) -> str:
    return f"the answer is too large: more than {most:,} bytes (Target.answer_bytes)"
