"""As much of HTTP/1.1 as a loopback server needs: requests out of bytes, answers into bytes; no sockets here.

Why not aiohttp.web: it takes 0.19 ms of CPU a request, from the cores that the job under test needs.
"""

import json
import re
from http import HTTPStatus
from typing import NamedTuple

JSON = "application/json"
_LINE = b"\r\n"
_BLANK_LINE = b"\r\n\r\n"
_MOST_HEAD = 64 * 1024
_MOST_BODY = 16 * 1024 * 1024
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?")


class BadRequestError(Exception):
    """The bytes are no request that we understand; what follows them cannot be trusted either."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Request(NamedTuple):
    method: str
    #: As it was sent, with its query.
    path: str
    #: Names in lower case.
    headers: dict[str, str]
    body: bytes


class Response(NamedTuple):
    #: Status line and headers, the blank line included.
    head: bytes
    body: bytes


def head(status: int, *headers: str) -> bytes:
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    return "\r\n".join([first, *headers, "", ""]).encode("latin-1")


def response(status: int, content_type: str, body: bytes, *headers: str) -> Response:
    content = f"Content-Type: {content_type}", f"Content-Length: {len(body)}"
    return Response(head(status, *content, *headers), body)


def answer(status: int, value: object, *headers: str) -> Response:
    return response(status, JSON, json.dumps(value).encode(), *headers)


class RequestReader:
    """Cuts a stream of bytes into requests, in order, however the bytes were split on their way."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __len__(self) -> int:
        """The number of bytes fed and not yet part of a request."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Request | None:
        """The next request, or nothing while it is not whole. Raises BadRequestError."""
        end = self._buffer.find(_BLANK_LINE)
        if end < 0:
            if len(self._buffer) > _MOST_HEAD:
                raise BadRequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers have no end")
            return None
        method, path, headers = _parse_head(self._buffer[:end].decode("latin-1"))
        found = _find_body(self._buffer, end + len(_BLANK_LINE), headers)
        if found is None:
            return None
        body, stop = found
        del self._buffer[:stop]
        return Request(method, path, headers, body)


def _parse_head(text: str) -> tuple[str, str, dict[str, str]]:
    first, *lines = text.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] != "HTTP/1.1":
        raise BadRequestError(HTTPStatus.BAD_REQUEST, "the first line is not of the form METHOD PATH HTTP/1.1")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return words[0], words[1], headers


def _find_body(buffer: bytearray, start: int, headers: dict[str, str]) -> tuple[bytes, int] | None:
    """The body and where it ends, or nothing while it is not whole."""
    if "transfer-encoding" in headers:
        return _find_chunked_body(buffer, start)
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BadRequestError(HTTPStatus.BAD_REQUEST, "Content-Length is not a number")
    stop = start + _within_limit(int(length))
    return (bytes(buffer[start:stop]), stop) if len(buffer) >= stop else None


def _find_chunked_body(buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    body = bytearray()
    while (end := buffer.find(_LINE, start)) >= 0:
        match = _CHUNK_SIZE.fullmatch(buffer, start, end)
        if match is None:
            raise BadRequestError(HTTPStatus.BAD_REQUEST, "the size of a chunk is not a hexadecimal number")
        size = int(match[1], 16)
        if size == 0:
            trailers_end = buffer.find(_BLANK_LINE, end)
            return (bytes(body), trailers_end + len(_BLANK_LINE)) if trailers_end >= 0 else None
        _within_limit(len(body) + size)
        start = end + len(_LINE) + size + len(_LINE)
        if len(buffer) < start:
            return None
        if buffer[start - len(_LINE) : start] != _LINE:
            raise BadRequestError(HTTPStatus.BAD_REQUEST, "a chunk is longer than it says")
        body += buffer[end + len(_LINE) : start - len(_LINE)]
    return None


def _within_limit(length: int) -> int:
    if length > _MOST_BODY:
        raise BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {_MOST_BODY} bytes")
    return length
