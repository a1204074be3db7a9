"""A target that refuses, fails or is silent: every entry ends with its outcome and its reason."""

import json

import pytest

from rollcall.core.outcome import Outcome
from tests.end_to_end.local import Local, declared
from tests.end_to_end.server import Answer, Asked, Server

pytestmark = pytest.mark.end_to_end

KEYS = [f"T{n}" for n in range(12)]
REPORT = Answer(body=json.dumps({"Report_Entry": [{"id": key} for key in KEYS]}).encode())
#: The target's answer, what becomes of the entries, their error, and how often each is called.
CASES = {
    "refuses": (Answer(422, b"no such thing"), Outcome.REJECTED, "http_422", 1),
    "knows nobody": (Answer(404, b""), Outcome.REJECTED, "http_404", 1),
    "fails": (Answer(500, b"out of order"), Outcome.FAILED, "http_500", 2),
    "never answers": (None, Outcome.UNKNOWN, "unanswered", 2),
}


@pytest.fixture(scope="module")
def deployed(local: Local, target: Server) -> Server:
    local.deploy(declared("side_by_side"), f"{target.url}/target", f"{target.url}/report")
    return target


@pytest.mark.parametrize("case", CASES)
def test_what_becomes_of_entries_whose_target(local: Local, deployed: Server, case: str) -> None:
    answer, outcome, error, calls = CASES[case]
    deployed.forget()
    deployed.answering = lambda asked: REPORT if asked.path == "/report" else answer
    completed = local.run("side-by-side")
    assert (completed["state"], completed["clean"], completed["total"]) == ("complete", False, len(KEYS))
    assert completed["outcomes"][outcome] == len(KEYS)
    failures = local.failures(completed["run"])
    assert sorted(filter(None, failures)) == sorted(KEYS)
    for failure in failures.values():
        assert (failure.outcome, failure.error, failure.attempts) == (outcome, error, calls)
        assert failure.reason
        assert answer is None or answer.body.decode() in failure.reason
    assert {count for path, count in deployed.paths().items() if path != "/report"} == {calls}


def test_one_entry_that_is_refused_hurts_no_other(local: Local, deployed: Server) -> None:
    def answering(asked: Asked) -> Answer:
        if asked.path == "/report":
            return REPORT
        return Answer(403 if asked.path.endswith("/T3") else 200)

    deployed.answering = answering
    completed = local.run("side-by-side")
    assert (completed["outcomes"]["succeeded"], completed["outcomes"]["rejected"]) == (len(KEYS) - 1, 1)
    assert [(key, each.error) for key, each in local.failures(completed["run"]).items()] == [("T3", "http_403")]
