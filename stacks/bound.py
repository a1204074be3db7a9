"""What cannot be bound in an environment, whatever it is for."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from rollcall.core.target import Location

LOOPBACK = frozenset({"127.0.0.1", "localhost"})
#: By what bindings there are.
SCHEMES = {"targets": ("https", "http"), "reports": ("https", "http", "s3")}
#: Of an object that a policy can name: no wildcards.
_KEY = re.compile(r"/[^*?]+")


def is_a(kind: type, value: object) -> bool:
    """Whether a value is what its annotation says: who edits environments and deploys has not always asked mypy."""
    return isinstance(value, kind)


def objections(kind: str, bindings: Mapping[str, Location]) -> Iterator[str]:
    """What is wrong with each of the `targets` or `reports`, in a line that says what to write."""
    for name, location in bindings.items():
        if not is_a(Location, location):
            yield f"{kind}[{name!r}] is {location!r}; write Location(…), with its URL and secret"
            continue
        if (objection := _objection(location.url, SCHEMES[kind])) is not None:
            yield f"{kind}[{name!r}] {objection}"


def _objection(url: str, schemes: tuple[str, ...]) -> str | None:
    parts = _parts(url)
    if parts is None or parts.scheme not in schemes or not parts.hostname:
        return f"is at {_shown(url)!r}; take a URL that begins with {' or '.join(f'{each}://' for each in schemes)}"
    if "@" in parts.netloc:
        return f"has credentials in its URL, {_shown(url)!r}, which would stand in the template; put them into a secret"
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        return f"is at {url!r}, which anybody on the way can read; take https://"
    return _of_object(parts) if parts.scheme == "s3" else None


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        return parts if parts.port != 0 else None
    except ValueError:  # A port that is no number or too large, half an IPv6 address.
        return None


def _of_object(parts: SplitResult) -> str | None:
    if parts.query or not _KEY.fullmatch(parts.path):
        return f"is at {parts.geturl()!r}; name one object, as in s3://bucket/key.csv, without * and ?"
    return None


def _shown(url: str) -> str:
    """Without what may be a password."""
    return url.rpartition("@")[2]
