"""The commands for deployed environments, as processes: their environment is a local cloud, reached as AWS is."""

import os
import signal
from collections.abc import Iterator, Mapping

import pytest

from tests.end_to_end.clone import Clone
from tests.end_to_end.local import Local, declared
from tests.end_to_end.processes import until
from tests.end_to_end.server import Answer, Asked, Server
from tests.end_to_end.test_command_line import one_line
from tests.ended import Ended
from tools.local_cloud.isolation import REGION
from tools.local_cloud.resources import ENVIRONMENT

pytestmark = pytest.mark.end_to_end

#: As a user has them: nothing but these stands between him and an account.
REPORT = """{"Report_Entry": [
    {"Bill_ID": "B1", "Client": "C", "Balance": 1},
    {"Bill_ID": "B2", "Client": "D", "Balance": 2}
]}"""


class Ann:
    """Types commands in a clone, for the local cloud as if it were an environment in AWS."""

    def __init__(self, clone: Clone, local: Local) -> None:
        self.clone = clone
        self.environ = {
            **local.cloud.address.keys.environ(),
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": local.cloud.ministack.endpoint,
            "AWS_ENDPOINT_URL_LAMBDA": local.cloud.address.functions,
        }

    def rollcall(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Ended:
        return self.clone.rollcall(*arguments, "--env", ENVIRONMENT, environ=self.environ | dict(environ or {}))


@pytest.fixture(scope="module")
def books() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def ann(clone: Clone, local: Local, books: Server, tmp_path_factory: pytest.TempPathFactory) -> Ann:
    report = tmp_path_factory.mktemp("report") / "bills.json"
    report.write_text(REPORT)
    local.deploy(declared("bills"), books.url, str(report))
    return Ann(clone, local)


def test_a_run_is_started_waited_for_and_its_failure_settled_again(ann: Ann, books: Server, local: Local) -> None:
    refusing = True

    def answering(asked: Asked) -> Answer:
        return Answer(422, b"no such bill") if refusing and "B2" in asked.path else Answer()

    books.answering = answering
    ended = ann.rollcall("start", "bills", "--param", "month=2026-10", "--wait", "--json")
    assert ended.code == 3, ended
    run = ended.result["run_id"]
    counts = {name: ended.result[name] for name in ("total", "succeeded", "rejected", "announced")}
    assert counts == {"total": 2, "succeeded": 1, "rejected": 1, "announced": True}
    assert local.record(run).params == {"month": "2026-10"}
    assert local.completions(run) == 1
    (failure,) = ann.rollcall("failures", run, "--json").result["failures"]
    assert (failure["key"], failure["error"]) == ("B2", "http_422")

    refusing = False
    ended = ann.rollcall("redrive", run, "--wait", "--json")
    assert (ended.code, ended.result["generation"], ended.result["clean"]) == (0, 2, True), ended
    assert ann.rollcall("verify", run).code == 0
    (bills,) = ann.rollcall("status", "--json").result["jobs"]
    assert [(each["run_id"], each["generation"], each["state"]) for each in bills["runs"]] == [(run, 2, "complete")]


def test_a_paused_job_calls_nobody_and_its_run_is_cancelled(ann: Ann, books: Server) -> None:
    books.forget()
    assert ann.rollcall("pause", "bills").code == 0
    run = ann.rollcall("start", "bills").out.strip()
    held = until(lambda: ann.rollcall("status", run, "--json").out.count('"entries": 2'), 60)
    assert held, "both entries are held"
    ended = ann.rollcall("cancel", run, "--json")
    assert (ended.code, ended.result["state"]) == (0, "cancelling"), ended
    assert ann.rollcall("resume", "bills").code == 0
    ended = ann.rollcall("verify", run, "--repair", "--json")
    assert (ended.code, ended.result["state"]) == (0, "cancelled"), ended
    assert books.asked == []


def test_ctrl_c_ends_the_watching_and_the_run_goes_on(ann: Ann, local: Local) -> None:
    ann.rollcall("pause", "bills")
    running = ann.clone.start("start", "bills", "--wait", "--env", ENVIRONMENT, environ=ann.environ)
    assert until(lambda: local.cloud.ledger.job("bills").open, 60)
    running.process.send_signal(signal.SIGINT)
    ended = running.wait()
    assert ended.code == 130
    last = ended.err.splitlines()[-1]
    assert last == (
        "rollcall: interrupted; what runs in environment local goes on; see it with: rollcall status --env local"
    )
    run = ended.err.splitlines()[1]
    assert not local.record(run).state.terminal
    assert ann.rollcall("cancel", run).code == 0
    assert ann.rollcall("resume", "bills").code == 0


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "there are no AWS credentials to reach environment"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "the AWS credentials cannot be had: Partial credentials found in env"),
        ({"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found; set AWS_PROFILE to"),
        ({"AWS_DEFAULT_REGION": ""}, "no AWS region is set, where environment local is; set AWS_DEFAULT_REGION"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "AWS cannot be reached: Could not connect to the endpoint URL"),
        ({"AWS_ENDPOINT_URL": "nonsense"}, "AWS cannot be used: Invalid endpoint: nonsense"),
    ],
    ids=["no credentials", "half of them", "no profile", "no region", "no network", "no endpoint"],
)
def test_what_keeps_a_user_from_aws_is_told_in_one_line(ann: Ann, environ: dict[str, str], told: str) -> None:
    assert told in one_line(ann.rollcall("status", environ=environ))


def test_an_environment_that_is_not_deployed_is_told_in_one_line(ann: Ann) -> None:
    told = one_line(ann.clone.rollcall("start", "bills", "--env", "prod", environ=ann.environ))
    assert f"environment prod is not deployed in this account and region (000000000000, {REGION})" in told


def test_a_kept_local_cloud_reads_nothing_of_the_users_aws(ann: Ann) -> None:
    told = one_line(ann.clone.rollcall("status", environ={"AWS_PROFILE": "nobody"}))
    assert "there is no kept local cloud; make one with: rollcall run JOB --keep" in told
    assert os.environ.get("AWS_PROFILE") is None
