"""Answers: what the end of an attempt means for its entry."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.core.answers import LONGEST_REASON, SUCCESS, Answer, of_error, of_result, retry_after
from rollcall.core.errors import HttpError, NotSent, Rejected, TryAgain, Unanswered
from rollcall.core.outcome import Outcome
from rollcall.core.target import Target

NOW = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
TARGET = Target("accounting", concurrency=10)
AGAIN = None


def status(code: int, header: str | None = None, *, unanswered_before: bool = False) -> Answer:
    """The answer to a call that ended with HTTP status `code`."""
    headers = {} if header is None else {"retry-after": header}
    return of_error(HttpError(code, headers, "said so"), NOW, TARGET, unanswered_before=unanswered_before)


def raised(error: BaseException) -> Answer:
    return of_error(error, NOW, TARGET)


# --- What a callback returns ---


@pytest.mark.parametrize("result", [None, Outcome.SUCCEEDED])
def test_a_callback_succeeds_by_returning_nothing_or_saying_so(result: Outcome | None) -> None:
    assert of_result(result) == SUCCESS


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.FAILED, Outcome.UNKNOWN, Outcome.CANCELLED])
def test_an_outcome_that_a_callback_returns_stands(outcome: Outcome) -> None:
    assert (of_result(outcome).outcome, of_result(outcome).error) == (outcome, "callback")


@pytest.mark.parametrize(("outcome", "answered"), [(outcome, outcome is not Outcome.UNKNOWN) for outcome in Outcome])
def test_only_unknown_says_that_nobody_answered(outcome: Outcome, answered: bool) -> None:
    assert of_result(outcome).answered is answered


@pytest.mark.parametrize("result", [True, False, 0, "succeeded!", {"ok": True}])
def test_any_other_result_fails_the_entry_and_tells_what_to_return(result: object) -> None:
    answer = of_result(result)
    assert answer.outcome is Outcome.FAILED
    assert answer.reason is not None
    assert "return an Outcome, or nothing" in answer.reason


# --- What the target answers ---


@pytest.mark.parametrize("code", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_a_target_that_cannot_now_is_asked_again(code: int) -> None:
    assert (status(code).outcome, status(code).error, status(code).answered) == (AGAIN, f"http_{code}", True)


@pytest.mark.parametrize("code", [302, 304, 400, 401, 403, 404, 405, 409, 410, 422, 499])
def test_a_target_that_says_no_is_not_asked_again(code: int) -> None:
    assert (status(code).outcome, status(code).error) == (Outcome.REJECTED, f"http_{code}")


def test_a_conflict_after_an_unanswered_attempt_may_be_our_own_and_is_asked_again() -> None:
    assert status(409, unanswered_before=True).outcome is AGAIN


def test_a_conflict_is_taken_for_a_refusal_where_nothing_is_said_of_earlier_attempts() -> None:
    assert raised(HttpError(409, {}, "")).outcome is Outcome.REJECTED


def test_any_other_refusal_stands_after_an_unanswered_attempt() -> None:
    assert status(422, unanswered_before=True).outcome is Outcome.REJECTED


def test_the_targets_words_are_kept_as_the_reason() -> None:
    assert status(422).reason == "HTTP 422: said so"


@pytest.mark.parametrize("code", [429, 503])
def test_a_retry_after_is_kept_with_the_answer(code: int) -> None:
    assert status(code, "90").retry_after == timedelta(seconds=90)


def test_a_target_without_words_is_known_by_its_status() -> None:
    assert raised(HttpError(503, {}, "")).reason == "HTTP 503"


def test_a_retry_after_on_a_refusal_asks_for_nothing() -> None:
    assert status(404, "90").retry_after is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("0", timedelta(0)),
        ("120", timedelta(minutes=2)),
        (" 5 ", timedelta(seconds=5)),
        ("Sat, 21 Nov 2026 02:31:30 GMT", timedelta(seconds=90)),
        ("Sat, 21 Nov 2026 03:31:30 +0100", timedelta(seconds=90)),
        ("Sat, 21 Nov 2026 02:31:30 -0000", timedelta(seconds=90)),
        ("Sat, 21 Nov 2026 02:00:00 GMT", timedelta(0)),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("\N{ARABIC-INDIC DIGIT FIVE}", None),
        ("Sat, 99 Nov 2026 02:31:30 GMT", None),
        ("1 Jan 99999999999999999999 00:00:00 GMT", None),
        (None, None),
    ],
)
def test_retry_after_comes_in_seconds_or_as_a_date_or_is_nonsense(
    header: str | None, expected: timedelta | None
) -> None:
    assert retry_after(header, NOW) == expected


@pytest.mark.parametrize("digits", [10, 5_000])
def test_a_wait_of_any_length_can_be_read(digits: int) -> None:
    wait = retry_after("9" * digits, NOW)
    assert wait is not None
    assert wait > timedelta(days=10_000)


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [+-]\d+", fullmatch=True))
def test_no_header_whatever_makes_reading_it_fall_over(header: str) -> None:
    wait = retry_after(header, NOW)
    assert wait is None or wait >= timedelta(0)


# --- What a callback raises ---


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotSent("connection refused"), "not_sent"),
        (TryAgain("the books are closed"), "try_again"),
        (KeyError("balance"), "error_KeyError"),
        (ZeroDivisionError(), "error_ZeroDivisionError"),
        (SystemExit(1), "error_SystemExit"),
    ],
)
def test_errors_with_an_answer_or_without_a_request_are_tried_again(error: BaseException, code: str) -> None:
    assert (raised(error).outcome, raised(error).error, raised(error).answered) == (AGAIN, code, True)


@pytest.mark.parametrize("error", [Unanswered("timed out"), TimeoutError(), ConnectionResetError(), BrokenPipeError()])
def test_a_request_without_answer_is_tried_again_and_remembered(error: BaseException) -> None:
    assert (raised(error).outcome, raised(error).error, raised(error).answered) == (AGAIN, "unanswered", False)


def test_rejected_is_final() -> None:
    assert raised(Rejected("no such client")) == Answer(Outcome.REJECTED, "rejected", "no such client")


def test_try_again_names_its_reason_and_the_least_wait() -> None:
    answer = raised(TryAgain("the books are closed", after=timedelta(hours=1)))
    assert (answer.reason, answer.retry_after) == ("the books are closed", timedelta(hours=1))


def test_an_error_without_words_is_named_by_its_class() -> None:
    assert raised(TimeoutError()).reason == "TimeoutError"


def test_a_reason_is_no_longer_than_people_read() -> None:
    assert raised(Rejected("x" * 5_000)).reason == "x" * LONGEST_REASON
