"""What is said of an error where its text must not be repeated."""

from datetime import UTC, datetime
from typing import Any

import pytest

from rollcall.core.errors import (
    HttpError,
    Rejected,
    RollcallError,
    SourceError,
    class_and_place,
    is_own_text,
    raised_by_rollcall,
)
from rollcall.core.run import run_id

DUE = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)


def raised(act: Any) -> BaseException:
    try:
        act()
    except ValueError as error:
        return error
    raise AssertionError("nothing was raised")


def fail() -> None:
    raise ValueError("DE02 1203 0000")


def test_an_error_is_named_by_its_class_and_the_line_that_raised_it() -> None:
    line = fail.__code__.co_firstlineno + 1
    assert class_and_place(raised(fail)) == f"ValueError in fail (test_errors.py, line {line})"


def test_the_line_of_a_job_counts_though_a_library_raised() -> None:
    code = compile("\n\ndef read(text):\n    return int(text)\n", "/var/task/functions/jobs/books/bills.py", "exec")
    scope: dict[str, object] = {"__name__": "functions.jobs.books.bills"}
    exec(code, scope)  # noqa: S102
    through = {"__name__": "library", "read": scope["read"]}
    exec(compile("def call():\n    read('DE02')", "library.py", "exec"), through)  # noqa: S102
    assert class_and_place(raised(through["call"])) == "ValueError in read (bills.py, line 4)"


def test_an_error_that_nobody_has_raised_is_named_by_its_class() -> None:
    assert class_and_place(KeyError("DE02")) == "KeyError"


def test_whose_line_raised_an_error_is_known() -> None:
    assert raised_by_rollcall(raised(lambda: run_id("Books", DUE)))
    assert not raised_by_rollcall(raised(fail))
    assert not raised_by_rollcall(KeyError("DE02"))


@pytest.mark.parametrize(
    ("error", "own"),
    [
        (RollcallError("there is no run"), True),
        (SourceError("it is unreachable"), True),
        (HttpError(422, {}, "no client DE02"), False),
        (Rejected("no client DE02"), False),
        (ValueError("DE02"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_text_of_a_call_is_the_targets_and_not_our_own(error: Exception, *, own: bool) -> None:
    assert is_own_text(error) is own
