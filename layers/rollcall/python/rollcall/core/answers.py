"""What an attempt's end means: settled, or called again, and whether the target answered at all."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from rollcall.core.errors import HttpError, NotSent, Rejected, TryAgain, Unanswered
from rollcall.core.outcome import Outcome

#: Statuses other than 5xx that ask for another try: Request Timeout, Too Early, Too Many Requests.
RETRIED = frozenset({408, 425, 429})
CONFLICT = 409
LONGEST_REASON = 1_000


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of one attempt."""

    #: Final where it is an outcome; None asks for another attempt.
    outcome: Outcome | None
    #: The class of the error, for finding and redriving: `http_503`, `unanswered`, `not_sent`, `error_KeyError`.
    error: str | None = None
    reason: str | None = None
    #: False where the request may have taken effect without our knowing.
    answered: bool = True
    #: The least time that the target asked to wait.
    retry_after: timedelta | None = None


SUCCESS = Answer(Outcome.SUCCEEDED)


def of_result(result: object) -> Answer:
    """The answer that a callback's return value stands for: an Outcome, or nothing for success."""
    if result is None:
        return SUCCESS
    if isinstance(result, Outcome):
        return Answer(
            result,
            None if result is Outcome.SUCCEEDED else "callback",
            answered=result is not Outcome.UNKNOWN,
        )
    reason = f"the callback returned {type(result).__name__}; return an Outcome, or nothing for success"
    return Answer(Outcome.FAILED, "callback", reason)


def reason_of(error: BaseException) -> str:
    """What an exception says, as text that can be stored; its class where it says nothing or fails to."""
    try:
        said = " ".join(str(error).split())[:LONGEST_REASON]
    except Exception:
        said = ""
    return said.encode("utf-8", "replace").decode() or type(error).__name__


def of_error(error: BaseException, now: datetime, *, unanswered_before: bool = False) -> Answer:
    """The answer that an exception of a callback stands for.

    `unanswered_before` says that an earlier attempt at this entry got no answer: a conflict may then be
    that attempt's own, and is asked again with the same key.
    """
    reason = reason_of(error)
    match error:
        case HttpError():
            return _of_status(error, reason, now, unanswered_before)
        case Rejected():
            return Answer(Outcome.REJECTED, "rejected", reason)
        case TryAgain():
            return Answer(None, "try_again", reason, retry_after=error.after)
        case NotSent():
            return Answer(None, "not_sent", reason)
        case Unanswered() | TimeoutError() | ConnectionError():
            return Answer(None, "unanswered", reason, answered=False)
        case _:
            return Answer(None, f"error_{type(error).__name__}", f"{type(error).__name__}: {reason}")


def _of_status(error: HttpError, reason: str, now: datetime, unanswered_before: bool) -> Answer:
    code = f"http_{error.status}"
    if error.status in RETRIED or error.status >= 500:
        return Answer(None, code, reason, retry_after=retry_after(error.headers.get("retry-after"), now))
    if error.status == CONFLICT and unanswered_before:
        return Answer(None, code, reason)
    return Answer(Outcome.REJECTED, code, reason)


def retry_after(header: str | None, now: datetime) -> timedelta | None:
    """The wait that a Retry-After header asks for, in seconds or as a date; None for none or nonsense.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=int(text) if len(text) < 10 else 10**9)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(timedelta(0), moment - now)
