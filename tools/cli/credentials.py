"""Credentials for a user's own report and target, taken from where no other user of the machine can read them."""

import getpass
import json
import os
import stat
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Literal

from rollcall.core.errors import RollcallError
from tools.cli import locations
from tools.cli.locations import Named
from tools.cli.terminal import print_notice

Kind = Literal["report", "target"]
#: What asks for credentials, in the place of a file.
PROMPT = "-"
FORM = 'write user:password, {"username": …, "password": …} or {"token": …}'
#: Bytes of a file with credentials. No header is that long; a wrong file may be.
LONGEST = 16_384

_LOCATED: Mapping[Kind, Callable[[str], Named]] = {"report": locations.report, "target": locations.target}


@dataclass(frozen=True, slots=True)
class Own:
    """The user's own report and target; stand-ins where None."""

    report: Named | None = None
    target: Named | None = None


def own(
    environ: MutableMapping[str, str],
    *,
    report: str | None = None,
    report_credentials: str | None = None,
    target: str | None = None,
    target_credentials: str | None = None,
) -> Own:
    """Locate the user's own report and target, with the credentials from options, environment variables or URLs.

    The variables are removed from `environ`, so that no child process inherits them. An option precedes its variable.
    Raises RollcallError, which never repeats credentials.
    """
    inherited: dict[Kind, str | None] = {kind: environ.pop(variable(kind), None) for kind in _LOCATED}
    # Both are located before anything is asked for.
    found: dict[Kind, Named | None] = {
        "report": _located("report", report, report_credentials),
        "target": _located("target", target, target_credentials),
    }
    mine = Own(
        _with_credentials("report", found["report"], report_credentials, inherited["report"]),
        _with_credentials("target", found["target"], target_credentials, inherited["target"]),
    )
    _warn_of_urls(found)
    return mine


def variable(kind: Kind) -> str:
    """The environment variable that holds credentials."""
    return f"ROLLCALL_{kind.upper()}_CREDENTIALS"


def _located(kind: Kind, where: str | None, source: str | None) -> Named | None:
    if where is not None:
        return _LOCATED[kind](where)
    if source is not None:
        raise RollcallError(f"--{kind}-credentials is for your own {kind}; name it with --{kind}")
    return None


def _warn_of_urls(found: Mapping[Kind, Named | None]) -> None:
    for kind, named in found.items():
        if named is not None and named.credentials is not None:
            print_notice(
                f"other users of this machine can see the credentials in the URL of --{kind}, for example with ps; "
                f"set {variable(kind)} instead, or pass --{kind}-credentials FILE, "
                f"or --{kind}-credentials {PROMPT} to be asked for them"
            )


def _with_credentials(kind: Kind, named: Named | None, source: str | None, inherited: str | None) -> Named | None:
    # The variable may be set for another run, whose report is not a file.
    if named is None or (source is None and not (inherited and named.remote)):
        return named
    origin = variable(kind) if source is None else f"--{kind}-credentials"
    if not named.remote:
        raise RollcallError(f"{origin} is for a {kind} behind a URL; a file needs no credentials: leave it out")
    if named.credentials is not None:
        raise RollcallError(f"--{kind} has credentials in its URL, and {origin} has others; leave out one of the two")
    return replace(named, credentials=parsed(_text(kind, source, inherited or "", origin), origin))


def _text(kind: Kind, source: str | None, inherited: str, origin: str) -> str:
    if source is None:
        return inherited
    return _asked(kind) if source == PROMPT else _read(source, origin)


def parsed(text: str, origin: str) -> Mapping[str, str]:
    """Credentials as secrets have them, from `user:password` or a secret's own JSON.

    Raises RollcallError, which names `origin` and repeats nothing of the text.
    """
    text = text.removeprefix("\ufeff").strip("\r\n")
    if text.lstrip().startswith("{"):
        return _of_secret(text, origin)
    user, colon, password = text.partition(":")
    if not colon or "\n" in text:
        raise RollcallError(f"{origin}: there are no credentials in it; {FORM}")
    return {"username": user, "password": password}


def _of_secret(text: str, origin: str) -> Mapping[str, str]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = {}
    names = ("token",) if "token" in fields else ("username", "password")
    if not all(isinstance(fields.get(name), str) for name in names):
        raise RollcallError(f"{origin}: there are no credentials in it; {FORM}")
    if names == ("token",) and not (fields["token"].isascii() and fields["token"].isprintable()):
        raise RollcallError(f"{origin}: the token holds a line break or another character that no header may have")
    return {name: fields[name] for name in names}


def _read(path: str, origin: str) -> str:
    """Read a file that no other user can open. Errors leave out `path`: some type the credentials themselves there."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - may be /dev/stdin or a pipe of the shell
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise RollcallError(
                    f"{origin}: other users may open the file, whose mode is {stat.S_IMODE(status.st_mode):04o}; "
                    f"take that from them with chmod 600, and change the password if they may have read it"
                )
            content = file.read(LONGEST + 1)
    except (OSError, ValueError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or "that is no path"
        raise RollcallError(
            f"{origin} cannot be read: {said}; pass the path of a file that holds the credentials, "
            f"or {PROMPT} to be asked for them"
        ) from error
    if len(content) > LONGEST:
        raise RollcallError(f"{origin}: the file has more than {LONGEST:,} bytes; {FORM}")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise RollcallError(f"{origin}: the file is not UTF-8 text; {FORM}") from None


def _asked(kind: Kind) -> str:
    """Ask for credentials on the terminal, without echo."""
    prompt = f"Credentials of your {kind} (user:password or JSON, not shown): "
    try:
        with warnings.catch_warnings():
            # Without a terminal getpass would read standard input and warn that it is shown.
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(prompt)
    except getpass.GetPassWarning:
        raise RollcallError(
            f"--{kind}-credentials {PROMPT}: there is no terminal to ask for them on; "
            f"set {variable(kind)}, or pass --{kind}-credentials FILE"
        ) from None
    except EOFError:
        raise RollcallError(f"--{kind}-credentials {PROMPT}: nothing was typed; {FORM}") from None
