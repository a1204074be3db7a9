"""What goes wrong, by meaning. Retryable or not is a property of the class."""

from collections.abc import Mapping
from datetime import timedelta


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
