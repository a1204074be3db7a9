"""What goes wrong, by meaning. Retryable or not is a property of the class."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import FrameType

#: Where the users' code is, whose lines say most about an error.
USERS_CODE = "functions.jobs."


class RollcallError(Exception):
    """Anything that Rollcall raises on purpose; the text says what happened and what to do next."""


class DeclarationError(RollcallError, ValueError):
    """A job file declares something that cannot work."""


class SourceError(RollcallError):
    """A report cannot be trusted as a whole: the run is refused and nobody is called."""


class InvalidEntry(RollcallError):
    """One entry cannot be processed; it is `rejected` with this reason."""


class InvalidMessage(RollcallError):
    """The body of a message is not one that a dispatch wrote."""


class CallError(RollcallError):
    """A call that did not succeed."""


class NotSent(CallError):
    """The request provably never reached the target: connection refused, unknown host, TLS failure."""


class Unanswered(CallError):
    """The request may have reached the target, but no answer came: timeout, connection reset."""


class HttpError(CallError):
    """The target answered with a status other than 2xx."""

    def __init__(self, status: int, headers: Mapping[str, str], body: str) -> None:
        super().__init__(f"HTTP {status}: {body[:200]}" if body else f"HTTP {status}")
        self.status = status
        #: Lower-case names.
        self.headers = headers
        self.body = body


class Rejected(CallError):
    """Raised by a callback: the target said no; asking again would not help."""


class TryAgain(CallError):
    """Raised by a callback: the target answered that it could not do it now."""

    def __init__(self, reason: str, after: timedelta | None = None) -> None:
        super().__init__(reason)
        #: The least time to wait, where the target named one.
        self.after = after


def class_and_place(error: BaseException) -> str:
    """Name an error by its class and its line of code: its text may quote a payload or an answer."""
    frames = list(_frames(error))
    users = [place for place in frames if str(place[0].f_globals.get("__name__", "")).startswith(USERS_CODE)]
    if not frames:
        return type(error).__name__
    frame, line = (users or frames)[-1]
    file = frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
    return f"{type(error).__name__} in {frame.f_code.co_name} ({file}, line {line})"


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """The frames that an error has passed, outermost first, each with its line."""
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


def raised_by_rollcall(error: BaseException) -> bool:
    """Whether the line that raised an error is Rollcall's, and not the users'."""
    frames = list(_frames(error))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__", "")).startswith("rollcall.")


def is_own_text(error: BaseException) -> bool:
    """Whether the text of an error is Rollcall's own, which quotes no payload; that of a call is the target's."""
    return isinstance(error, RollcallError) and not isinstance(error, CallError)
