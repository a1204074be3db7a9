"""Requests as the bytes of HTTP/1.1; what could be read as something else than it is, is not written."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlsplit

from rollcall.core.call import Request
from rollcall.core.errors import Rejected

DEFAULTS = {"user-agent": "User-Agent: rollcall", "accept": "Accept: */*"}
#: What says where a request ends and whom it is for: not for callbacks to say.
FRAMING = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
#: With these, no body is a body of no bytes: https://www.rfc-editor.org/rfc/rfc9110#section-8.6
WITH_BODY = frozenset({"PATCH", "POST", "PUT"})

#: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: A # would cut off what stands behind it.
_PATH = re.compile(r"/[^\x00-\x1f\x7f#]*")
_AS_THEY_ARE = "%/?:@!$&'()*+,;=[]-._~|"


@dataclass(frozen=True, slots=True)
class Origin:
    """A target's base URL, taken apart."""

    tls: bool
    host: str
    port: int
    #: The Host header: the port is there where the URL has one.
    authority: str
    #: Without a slash at its end.
    path: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Raises ValueError, without repeating the URL, for one that is not `http(s)://host[:port][/path]`."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("the base URL is not of the form https://host[:port][/path]")
        if "@" in parts.netloc:
            raise ValueError("the base URL names a user; credentials belong into the target's secret")
        host = parts.hostname.encode("idna").decode("ascii")
        authority = f"[{host}]" if ":" in host else host
        if parts.port is not None:
            authority += f":{parts.port}"
        tls = parts.scheme == "https"
        return cls(tls, host, parts.port or (443 if tls else 80), authority, _quoted(parts.path.rstrip("/")))

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.path}"


def names_authorization(request: Request) -> bool:
    """Whether a callback brings credentials of its own, which the target's must not replace."""
    return any(name.lower() == "authorization" for name in request.headers)


def written(origin: Origin, request: Request, authorization: str | None) -> bytes:
    """A whole request. Raises Rejected for one that HTTP cannot carry as it is."""
    if not _TOKEN.fullmatch(request.method):
        raise Rejected(f"{request.method!r} is no HTTP method")
    if not _PATH.fullmatch(request.path):
        raise Rejected(f"the path {request.path!r} must begin with / and be quoted: it holds # or a control character")
    try:
        lines = [f"{request.method} {origin.path}{_quoted(request.path)} HTTP/1.1", f"Host: {origin.authority}"]
        lines += _headers(request, authorization)
        return "\r\n".join([*lines, "", ""]).encode() + (request.body or b"")
    except UnicodeEncodeError as error:
        raise Rejected("its path or a header holds half a character, which no encoding has") from error


def _headers(request: Request, authorization: str | None) -> list[str]:
    lines = []
    given = set()
    for name, value in request.headers.items():
        if not _TOKEN.fullmatch(name) or _NO_VALUE.search(value):
            raise Rejected(f"the header {name!r} holds a line break or another character that no header may hold")
        given.add(name.lower())
        lines.append(f"{name}: {value}")
    if not given.isdisjoint(FRAMING):
        raise Rejected(f"these headers are not for a callback to set: {', '.join(sorted(given & FRAMING))}")
    lines += [line for name, line in DEFAULTS.items() if name not in given]
    if authorization is not None:
        lines.append(f"Authorization: {authorization}")
    if request.body is not None or request.method in WITH_BODY:
        lines.append(f"Content-Length: {len(request.body or b'')}")
    return lines


def _quoted(path: str) -> str:
    """`path` with what no path may hold (spaces, letters beyond ASCII) quoted, and all else as it is."""
    return quote(path, safe=_AS_THEY_ARE)
