"""What a user names as his own report or target, checked before anything is started."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from rollcall.core.errors import RollcallError
from rollcall.core.target import Location

#: Up to the last @: a password that is not quoted may hold a slash or another @.
_IN_URL = re.compile(r"://[^\s@]*:\S*@")


@dataclass(frozen=True, slots=True)
class Named:
    """A location, and apart from it its credentials, to go where deployed environments keep them."""

    location: Location
    #: As secrets have them: `username` and `password`, or `token`.
    credentials: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def remote(self) -> bool:
        """Whether it is behind a URL and not a file."""
        return self.location.url.lower().startswith(("http://", "https://"))

    def kept_in(self, secret: str) -> Location:
        """The location, with its credentials in this secret if it has any."""
        return self.location if self.credentials is None else Location(self.location.url, secret=secret)


def target(where: str) -> Named:
    """A target, which is an HTTP URL. Raises RollcallError."""
    return _http(where, "--target")


def report(where: str) -> Named:
    """A report: an HTTP URL, or a file by its path or its URL. Raises RollcallError."""
    scheme = where.partition("://")[0].lower() if "://" in where else "file"
    if scheme in {"http", "https"}:
        return _http(where, "--report")
    if scheme == "s3":
        raise RollcallError(f"{_shown(where)}: a local run reads no S3 of AWS; download the object and pass the file")
    if scheme != "file":
        raise RollcallError(f"--report {_shown(where)}: write the path of a file, or a URL with http:// or https://")
    path = _path(where)
    if not path.is_file():
        raise RollcallError(
            f"there is no file {_shown(str(path))}; pass the path of a .json, .jsonl or .csv report, "
            f"or its URL, which begins with http:// or https://"
        )
    format_ = Location(path.name).record_format() if path.suffix else None
    return Named(Location(str(path), format=format_))


def without_credentials(text: str) -> str:
    """Replace what may be credentials in the URLs of a text, such as an error that quotes the command line."""
    return _IN_URL.sub("://…@", text)


def _http(where: str, option: str) -> Named:
    parts = _http_parts(where)
    if parts is None:
        raise RollcallError(
            f"{option} {_shown(where)}: write a URL with http:// or https://, a host and, "
            f"where it has one, a port from 1 to 65535, such as http://127.0.0.1:8080/api"
        )
    if parts.username is None:
        return Named(Location(where))
    credentials = {"username": unquote(parts.username), "password": unquote(parts.password or "")}
    return Named(Location(parts._replace(netloc=_shown(parts.netloc)).geturl()), credentials)


def _http_parts(where: str) -> SplitResult | None:
    try:
        parts = urlsplit(where)
        # A fragment is never sent. Where there is one, it is the rest of a password that was not quoted.
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and not parts.fragment
    except ValueError:  # a port that is no number or too large, half an IPv6 address
        return None
    return parts if usable and where.split() == [where] else None


def _path(where: str) -> Path:
    if not where.lower().startswith("file://"):
        with suppress(RuntimeError):  # There is no such user, and so no home of his.
            return Path(where).expanduser().absolute()
        return Path(where).absolute()
    parts = urlsplit(where)
    if parts.netloc not in {"", "localhost"}:
        raise RollcallError(
            f"--report {_shown(where)}: write a file of this machine with three slashes, as file:///tmp/a.json"
        )
    return Path(unquote(parts.path))


def _shown(where: str) -> str:
    """Leave out what may be a password: everything before the last @, where a colon is in it."""
    before, _, after = where.rpartition("@")
    return after if ":" in before else where
