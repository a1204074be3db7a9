"""What the functions write and raise: no secret, and no text of a foreign error."""

import asyncio
import importlib
import json
import logging
import sys
import traceback
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from functions import _logs
from functions._logs import IN_USE, NAMES, write_logs
from functions._runtime import Context, Event, InvocationFailed, guarded
from rollcall import HttpError
from rollcall.adapters.secrets import InUse
from rollcall.core.actions import Action, log, logger
from rollcall.core.errors import RollcallError
from tests.functional.world import NAME, RUN, Events

SECRET = "hunter2-hunter2"
VALUE = "DE02 1203 0000 0000 2020 51"


@pytest.fixture
def written(events: Events) -> Iterator[StringIO]:
    """What is written where the secret is in use."""
    del events
    in_use, text = InUse(), StringIO()
    in_use.add(SECRET)
    write_logs("test", text, in_use.redacted)
    yield text
    for handler in (*logging.getLogger().handlers, logging.lastResort):
        if handler is not None:
            handler.filters[:] = [each for each in handler.filters if not isinstance(each, _logs.WithoutSecrets)]


class Odd:
    """Something that JSON has no form for."""

    def __repr__(self) -> str:
        return f"Odd({SECRET})"


# --- lines ---


@pytest.mark.parametrize(
    "said",
    [
        SECRET,
        f"Basic {SECRET}!",
        {"deep": [SECRET, {"deeper": SECRET}]},
        (SECRET,),
        {SECRET},
        Odd(),
        ValueError(SECRET),
    ],
    ids=lambda said: type(said).__name__,
)
def test_a_secret_is_replaced_in_whatever_a_line_has(written: StringIO, said: object) -> None:
    log(Action.ENTRY_RETURNED, logging.ERROR, run=RUN, reason=said)
    assert SECRET not in written.getvalue()
    assert "[secret]" in str(json.loads(written.getvalue())["reason"])


def test_a_secret_is_replaced_in_a_traceback(written: StringIO) -> None:
    try:
        raise ValueError(f"no {SECRET}")
    except ValueError:
        logger.exception("it failed with %s", SECRET)
    assert SECRET not in written.getvalue()
    assert written.getvalue().count("[secret]") >= 2


def test_a_name_of_ours_is_written_though_it_is_part_of_a_secret(events: Events) -> None:
    del events
    in_use, text = InUse(), StringIO()
    in_use.add("pay-deposits", "run.started", "accounting", "environment")
    write_logs("environment", text, in_use.redacted)
    log(Action.RUN_STARTED, run=RUN, job=NAME, target="accounting", reason="pay-deposits")
    line = json.loads(text.getvalue())
    assert (line["action"], line["run"], line["job"], line["target"]) == ("run.started", RUN, NAME, "accounting")
    assert line["_aws"]["CloudWatchMetrics"][0]["Metrics"] == [{"Name": "RunsStarted", "Unit": "Count"}]
    assert line["reason"] == "[secret]"


def test_the_names_of_ours_are_no_places_for_texts_of_others() -> None:
    assert {"message", "reason", "error", "exception", "found"}.isdisjoint(NAMES)


# --- what other loggers write ---


@pytest.mark.usefixtures("written")
def test_a_secret_is_replaced_in_the_warnings_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    logging.getLogger().handlers.clear()
    try:
        logging.getLogger("library").warning("could not send %s", SECRET, exc_info=ValueError(SECRET))
    finally:
        logging.getLogger().handlers[:] = before
    assert capsys.readouterr().err == "could not send [secret]\nValueError: [secret]\n\n"


@pytest.mark.usefixtures("written")
def test_a_line_of_others_without_a_secret_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("library").warning("could not send %s", "it", exc_info=ValueError("boom"))
    (record,) = caplog.records
    assert (record.msg, record.args, record.exc_info is not None) == ("could not send %s", ("it",), True)


@pytest.mark.usefixtures("written")
def test_a_line_that_cannot_be_put_together_hurts_nobody_and_shows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("library").warning("could not send %d", SECRET)
    (record,) = caplog.records
    assert record.getMessage() == "a line that cannot be put together"


@pytest.mark.usefixtures("written")
def test_a_task_that_nobody_waits_for_is_reported_without_what_its_error_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        raise HttpError(422, {}, VALUE)

    async def forget() -> None:
        task = asyncio.ensure_future(fail())
        await asyncio.sleep(0)
        del task

    asyncio.run(forget())
    (record,) = caplog.records
    assert record.getMessage().startswith("Task exception was never retrieved: HttpError in fail (test_logs.py, line ")
    assert VALUE not in caplog.text


# --- what a handler raises ---


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    @guarded
    def handler(event: Event, context: Context) -> None:
        del event, context
        raise error from cause

    context: Any = None
    try:
        handler({}, context)
    except BaseException as found:
        return found
    raise AssertionError("nothing was raised")


def shown(error: BaseException) -> str:
    """All that Lambda and a local run show of it."""
    return f"{error} {error!r} {''.join(traceback.format_exception(error))}"


def refused(code: str) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": f"One or more values are not valid: {VALUE}"}}
    return ClientError(answer, "UpdateItem")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError(VALUE), "KeyError in handler (test_logs.py, line "),
        (HttpError(422, {}, VALUE), "HttpError in handler (test_logs.py, line "),
        (SystemExit(VALUE), "SystemExit in handler (test_logs.py, line "),
        (refused("ValidationException"), "UpdateItem: ValidationException"),
        (ReadTimeoutError(endpoint_url=f"https://sqs/{VALUE}"), "ReadTimeoutError"),
        (
            ExceptionGroup(VALUE, [refused("Throttling"), KeyError(VALUE)]),
            "ExceptionGroup in handler (test_logs.py, line ",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_of_a_foreign_error_only_what_names_it_is_raised(error: BaseException, text: str) -> None:
    found = raised(error)
    assert isinstance(found, InvocationFailed)
    assert str(found).startswith(text)
    assert VALUE not in shown(found)
    assert "in handler" in shown(found), "the stack is still there"


def test_each_error_of_a_group_is_named() -> None:
    """As the watchdog raises them."""
    assert str(
        raised(ExceptionGroup(VALUE, [refused("Throttling"), KeyError(VALUE), RollcallError("no run")]))
    ).endswith("): UpdateItem: Throttling; KeyError; no run")


def test_an_error_of_ours_is_raised_as_it_is_and_without_what_caused_it() -> None:
    error = RollcallError("there is no run")
    found = raised(error, cause=ValueError(VALUE))
    assert found is error
    assert VALUE not in shown(found)


def test_an_error_that_was_met_while_another_was_handled_hides_that() -> None:
    try:
        raise ValueError(VALUE)
    except ValueError:
        found = raised(RollcallError("there is no run"))
    assert VALUE not in shown(found)


def test_a_secret_is_replaced_in_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    in_use = InUse()
    in_use.add(SECRET)
    monkeypatch.setattr("functions._runtime.IN_USE", in_use)
    found = raised(RollcallError(f"the queue did not take {SECRET}"))
    assert (type(found), str(found)) == (InvocationFailed, "the queue did not take [secret]")
    assert SECRET not in shown(found)


@pytest.mark.parametrize("kind", ["batch", "completion", "dead_letter", "fan_out", "watchdog", "worker"])
def test_every_handler_is_guarded(kind: str) -> None:
    handler = importlib.import_module(f"functions.{kind}.handler").handler
    assert handler.__code__ is guarded(handler).__code__, "its own code is what guards it"
    assert handler.__module__ == f"functions.{kind}.handler"


def test_all_functions_of_a_process_know_the_same_secrets() -> None:
    assert sys.modules["functions._runtime"].IN_USE is IN_USE
