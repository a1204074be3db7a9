"""What a user names as his own report or target, checked before anything is started."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from rollcall.core.errors import RollcallError
from rollcall.core.target import Location


@dataclass(frozen=True, slots=True)
class Named:
    """A location; credentials in its URL are kept apart, to go where deployed environments keep them."""

    location: Location
    credentials: Mapping[str, str] | None = None

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
        raise RollcallError(f"{where}: a local run reads no S3 of AWS; download the object and pass the file")
    if scheme != "file":
        raise RollcallError(f"--report {_shown(where)}: write the path of a file, or a URL with http:// or https://")
    path = _path(where)
    if not path.is_file():
        raise RollcallError(
            f"there is no file {path}; pass the path of a .json, .jsonl or .csv report, "
            f"or its URL, which begins with http:// or https://"
        )
    format_ = Location(path.name).record_format() if path.suffix else None
    return Named(Location(str(path), format=format_))


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
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number or too large, half an IPv6 address
        return None
    return parts if usable and where.split() == [where] else None


def _path(where: str) -> Path:
    if not where.lower().startswith("file://"):
        return Path(where).expanduser().absolute()
    parts = urlsplit(where)
    if parts.netloc not in {"", "localhost"}:
        raise RollcallError(f"--report {where}: write a file of this machine with three slashes, as file:///tmp/a.json")
    return Path(unquote(parts.path))


def _shown(where: str) -> str:
    """Without what may be a password."""
    return where.rpartition("@")[2]
