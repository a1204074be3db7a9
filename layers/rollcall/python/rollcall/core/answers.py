"""What an attempt's end means: settled, or called again, and whether the target answered at all."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from rollcall.core.errors import HttpError, NotSent, Rejected, TryAgain, Unanswered
from rollcall.core.outcome import NEVER_ARRIVED, Outcome
from rollcall.core.redaction import Redact, unredacted
from rollcall.core.target import Target

CONFLICT = 409
#: The class of the error that is the callback's own word for it.
TRY_AGAIN = "try_again"
#: Statuses that are about the credentials, as a rule: Unauthorized, Forbidden.
REFUSED_CREDENTIALS = frozenset({401, 403})
#: An answer that leaves open whether the target did anything.
INDEFINITE = frozenset({408, *range(300, 400), *range(500, 600)})
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
    #: False where even an answer leaves open whether the target did anything: unanswered, 3xx, 408, 5xx.
    definite: bool = True
    #: Whether it is proven that the target did nothing.
    never_executed: bool = False
    #: Whether it speaks against the target and not against this entry: its breaker counts these.
    target_failed: bool = False
    #: Whether the target may have refused our credentials, and not this entry.
    credentials_refused: bool = False
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


def reason_of(error: BaseException, redact: Redact = unredacted) -> str:
    """What an exception says, as text that can be stored; its class where it says nothing or fails to."""
    try:
        # Before it is cut: half a secret is none that could be found.
        said = " ".join(redact(str(error)).split())[:LONGEST_REASON]
    except Exception:
        said = ""
    return said.encode("utf-8", "replace").decode() or type(error).__name__


def of_error(
    error: BaseException,
    now: datetime,
    target: Target,
    *,
    unanswered_before: bool = False,
    redact: Redact = unredacted,
) -> Answer:
    """The answer that an exception of a callback stands for, by the classes of its target.

    `unanswered_before` says that an earlier attempt at this entry got no answer: a conflict may then be
    that attempt's own, and is asked again with the same key. `redact` takes secrets out of the reason.
    """
    reason = reason_of(error, redact)
    match error:
        case HttpError():
            return _of_status(error, reason, now, target, unanswered_before)
        case Rejected():
            return Answer(Outcome.REJECTED, "rejected", reason)
        case TryAgain():
            return Answer(None, TRY_AGAIN, reason, never_executed=True, target_failed=True, retry_after=error.after)
        case NotSent():
            return Answer(None, "not_sent", reason, never_executed=True, target_failed=True)
        case Unanswered() | TimeoutError() | ConnectionError():
            return Answer(None, "unanswered", reason, answered=False, definite=False, target_failed=True)
        case _:
            return Answer(None, f"error_{type(error).__name__}", f"{type(error).__name__}: {reason}", definite=False)


def _of_status(error: HttpError, reason: str, now: datetime, target: Target, unanswered_before: bool) -> Answer:
    code, status = f"http_{error.status}", error.status
    if status in target.retried:
        return Answer(
            None,
            code,
            reason,
            definite=status not in INDEFINITE,
            never_executed=status in target.never_executed,
            target_failed=True,
            retry_after=retry_after(error.headers.get("retry-after"), now),
        )
    if status == CONFLICT and unanswered_before:
        return Answer(None, code, reason, definite=False)
    if status in REFUSED_CREDENTIALS:
        return Answer(Outcome.REJECTED, code, reason, never_executed=True, credentials_refused=True)
    return Answer(Outcome.REJECTED, code, reason, definite=status not in INDEFINITE)


def of_found(found: object) -> Answer | None:
    """The answer that a probe's return value stands for; None where the call never arrived.

    Raises TypeError for anything that a probe must not return: nothing follows from it.
    """
    if found is NEVER_ARRIVED:
        return None
    if not isinstance(found, Outcome) or found is Outcome.CANCELLED:
        raise TypeError(f"the probe returned {found!r}; return an Outcome that the target tells of, or NEVER_ARRIVED")
    reason = "the target tells so, asked about a call that it never answered"
    return SUCCESS if found is Outcome.SUCCEEDED else Answer(found, "probe", reason, answered=False, definite=False)


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
