"""Nobody is called from a report that cannot be trusted; the run says why."""

import json
import re

import pytest

from tests.end_to_end.clone import Clone
from tests.end_to_end.local import Local, declared
from tests.end_to_end.server import Answer, Server

pytestmark = pytest.mark.end_to_end

THINGS = [{"id": f"T{n}", "name": "x" * 50} for n in range(400)]
WHOLE = json.dumps({"Report_Entry": THINGS}).encode()
CONTRADICTION = json.dumps({"Report_Entry": [*THINGS, {"id": "T7", "name": "another"}]}).encode()
CASES = {
    "closed before its end": (Answer(body=WHOLE[:9_000], missing=9_000), "the connection ended early"),
    "cut off": (Answer(body=WHOLE[:9_000]), r"broke off after \d+ records: it is not whole JSON"),
    "not JSON": (Answer(body=b"<!doctype html><title>Sign in</title>"), "it is not whole JSON"),
    "an object where the array should be": (Answer(body=b'{"Report_Entry": {"id": "T1"}}'), "no array 'Report_Entry'"),
    "another key": (Answer(body=b'{"Other": [{"id": "T1"}]}'), "no array 'Report_Entry'"),
    "an array of numbers": (Answer(body=b'{"Report_Entry": [1, 2]}'), "record 1 is of type .*, not an object"),
    "status 500": (Answer(500, b"internal error"), "it answered HTTP 500$"),
    "status 401": (Answer(401, b"sign in"), "it answered HTTP 401$"),
    "a redirect to a login": (Answer(302, b"moved"), "it answered HTTP 302$"),
    "one entity with two payloads": (Answer(body=CONTRADICTION), "it contradicts itself: entry 401 has the key"),
    "no bytes at all": (Answer(body=b""), "it is not whole JSON"),
}


@pytest.fixture(scope="module")
def report(local: Local, target: Server) -> Server:
    """The report of a job; its target, which nobody should call, is beside it."""
    with_target = f"{target.url}/target"
    local.deploy(declared("side_by_side"), with_target, f"{target.url}/report")
    local.deploy(declared("demanding"), with_target, f"{target.url}/report")
    return target


@pytest.mark.parametrize("case", CASES)
def test_a_report_that_cannot_be_trusted_refuses_the_run(local: Local, report: Server, case: str) -> None:
    answer, reason = CASES[case]
    report.answering = lambda _: answer
    completed = local.run("side-by-side")
    assert (completed["state"], completed["total"], completed["clean"]) == ("refused", 0, False)
    assert re.search(reason, completed["reason"]), completed["reason"]
    nobody_was_called(report)


def test_a_report_that_is_shorter_than_expected_refuses_the_run(local: Local, report: Server) -> None:
    report.answering = lambda _: Answer(body=json.dumps({"Report_Entry": THINGS[:2]}).encode())
    completed = local.run("demanding")
    assert completed["state"] == "refused"
    assert completed["reason"] == "the report has 2 entries; the job expects at least 3"
    nobody_was_called(report)


def test_an_empty_report_completes(local: Local, report: Server) -> None:
    report.answering = lambda _: Answer(body=b'{"Report_Entry": []}')
    completed = local.run("side-by-side")
    assert (completed["state"], completed["total"], completed["clean"]) == ("complete", 0, True)
    nobody_was_called(report)


def test_the_command_says_why_and_returns_4(clone: Clone, target: Server) -> None:
    unreachable = "http://127.0.0.1:9/report"
    target.forget()
    arguments = ("run", "bills", "--report", unreachable, "--target", target.url)
    as_text, as_json = clone.start(*arguments), clone.start(*arguments, "--json")
    told, ended = as_text.wait(), as_json.wait()
    assert (told.code, ended.code) == (4, 4), told.err + ended.err
    assert "refused" in told.out
    assert f"({unreachable}): it is unreachable" in told.out
    assert ended.result["state"] == "refused"
    assert f"({unreachable}): it is unreachable" in ended.result["reason"]
    assert (ended.result["total"], ended.result["messages_sent"], ended.result["completions"]) == (0, 0, 1)
    assert not target.asked


def nobody_was_called(target: Server) -> None:
    assert {asked.path for asked in target.asked} == {"/report"}
    target.forget()
