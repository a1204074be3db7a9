"""The other commands, and what is told in one line where a command cannot be carried out."""

import json
import re
import socket
from pathlib import Path

import pytest

from rollcall.core.outcome import Outcome
from rollcall.core.target import Location
from rollcall.engine.runs.failures import failures
from rollcall.engine.runs.progress import outcomes
from tests.end_to_end.clone import BILLS, Clone
from tests.end_to_end.local import declared
from tests.end_to_end.server import Answer, Server
from tests.ended import Ended
from tools.local_cloud.cloud import LocalCloud
from tools.local_cloud.ministack import CHECKOUT

pytestmark = pytest.mark.end_to_end

EXAMPLE = CHECKOUT / "docs/examples/deposit_statements.py"
TEXT = BILLS.read_text()
PROGRESS = re.compile(r" +\d+ s  ")


def one_line(ended: Ended) -> str:
    """The line of an error; before it a slow machine may have told of progress."""
    assert ended.code == 1, ended
    assert [line for line in ended.out.splitlines() if not PROGRESS.match(line)] == []
    assert ended.err.startswith("rollcall: ")
    assert ended.err.count("\n") == 1, ended.err
    return ended.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("run", "bils"),
            "there is no job 'bils'; did you mean bills?",
        ),
        (("run", "nothing"), "there are: bills"),
        (("run", "bills", "--param", "x"), "write NAME=VALUE"),
        (("run", "bills", "--entries", "-1"), "Invalid value for '--entries'"),
        (("run", "bills", "--error-rate", "2"), "Invalid value for '--error-rate'"),
        (("run", "bills", "--nonsense"), "No such option"),
        (("run", "bills", "--target", "localhost:8080/api"), "--target localhost:8080/api: write a URL with http://"),
        (("run", "bills", "--report", "file:///nowhere.json"), "there is no file /nowhere.json; pass the path of"),
        (("run",), "Missing argument"),
        (("jobs", "--at", "soon"), "write a time such as"),
        (("start", "bills"), "rollcall run bills"),
        (("nonsense",), "No such command"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(clone: Clone, arguments: tuple[str, ...], told: str) -> None:
    assert told in one_line(clone.rollcall(*arguments))


def test_a_busy_port_is_told_in_one_line(clone: Clone) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        told = one_line(clone.rollcall("run", "bills", "--port", port))
    assert f"port {port} of 127.0.0.1 is not free" in told


def test_the_jobs_are_listed_with_their_next_times(own_clone: Clone, tmp_path: Path) -> None:
    in_london = TEXT.replace(
        '"bills", schedule=monthly(1, "06:00")', '"refunds", schedule=daily("02:30", timezone=LONDON)'
    )
    (tmp_path / "refunds.py").write_text(in_london.replace("monthly\n", 'daily\n\nLONDON = "Europe/London"\n'))
    own_clone.add_job(tmp_path / "refunds.py", "bank")
    own_clone.add_job(BILLS, "books")
    ended = own_clone.rollcall("jobs", "--at", "2026-06-21T02:30:00Z")
    assert ended.code == 0, ended.err
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in ended.out.splitlines() if "books" in line]
    assert rows == [
        ["refunds", "bank", "02:30 daily Europe/London", "Mon 2026-06-22 01:30:00Z", "books", "50"],
        ["bills", "books", "06:00 monthly on day 1", "Wed 2026-07-01 06:00:00Z", "books", "50"],
    ]


def test_without_any_job_the_list_is_empty(own_clone: Clone) -> None:
    ended = own_clone.rollcall("jobs")
    assert (ended.code, ended.err) == (0, "")
    assert "there are: none" in one_line(own_clone.rollcall("run", "bills"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(TEXT.replace('monthly(1, "06:00")', 'monthly(1, "26:00")'), "26:00", id="a time of no day"),
        pytest.param(
            TEXT.replace('monthly(1, "06:00")', 'Cron("61 2 * * ? *")').replace("monthly", "Cron"),
            "61 2 * * ? *",
            id="a bad cron",
        ),
        pytest.param(TEXT, "two jobs", id="a name taken"),
        pytest.param(TEXT.replace("concurrency=50", "concurrency=101"), "only 100", id="too much"),
        pytest.param(TEXT.replace("@job.callback", ""), "has no callback", id="no callback"),
        pytest.param(TEXT.replace("call: Call) -> None", "call: Call, more: int) -> None"), "two param", id="three"),
        pytest.param(TEXT.replace("def bills(", "def bills"), "SyntaxError", id="no Python"),
        pytest.param("import nowhere\n" + TEXT, "nowhere", id="an import of nothing"),
    ],
)
def test_a_broken_job_file_is_told_in_one_line(own_clone: Clone, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "job.py").write_text(text)
    own_clone.add_job(tmp_path / "job.py", "bank")
    if text == TEXT:
        own_clone.add_job(BILLS, "books")
    assert told in one_line(own_clone.rollcall("jobs"))


def test_a_job_without_an_example_asks_for_one_or_for_a_report(own_clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(TEXT.partition("@job.example")[0])
    own_clone.add_job(tmp_path / "job.py", "books")
    told = one_line(own_clone.rollcall("run", "bills"))
    assert "add an @job.example to its file, or pass --report FILE|URL" in told


def test_an_example_that_fails_is_told_in_one_line(own_clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(TEXT.replace("n % 997", "997 / n"))
    own_clone.add_job(tmp_path / "job.py", "books")
    assert "ZeroDivisionError" in one_line(own_clone.rollcall("run", "bills"))


@pytest.mark.accounting
def test_a_job_is_added_by_one_file(tmp_path: Path) -> None:
    clone = Clone(tmp_path, jobs=True)
    before = files(clone.root)
    added = clone.add_job(EXAMPLE, "accounting")
    assert files(clone.root) - before == {added}
    assert "deposit-statements" in clone.rollcall("jobs").out
    ended = clone.rollcall("run", "deposit-statements", "--entries", "30", "--error-rate", "0", "--json")
    assert ended.code == 0, ended.err
    result = ended.result
    assert (result["clean"], result["total"], result["callbacks"], result["completions"]) == (True, 30, 30, 1)


def files(folder: Path) -> set[Path]:
    """All files but those that Python makes, and those of the environments."""
    found = folder.rglob("*.py")
    return {path for path in found if "__pycache__" not in path.parts}


def test_kept_data_is_there_for_later_commands(own_clone: Clone, target: Server, tmp_path: Path) -> None:
    own_clone.add_job(BILLS, "books")
    report = tmp_path / "bills.json"
    report.write_text('{"Report_Entry": [{"Bill_ID": "B1", "Client": "C", "Balance": 1}, {"Client": "D"}]}')
    target.answering = lambda _: Answer()
    bound = ("--report", str(report), "--target", target.url.replace("//", "//robot:secret@"))
    ended = own_clone.rollcall("run", "bills", *bound, "--keep", "--json")
    assert ended.code == 3, ended.err
    with LocalCloud(folder=own_clone.root / ".rollcall") as cloud:
        record = cloud.ledger.run(ended.result["run_id"])
        assert record is not None
        assert (record.state.value, record.total, record.announced) == ("complete", 2, True)
        counts = outcomes(cloud.ledger, record)
        assert (counts[Outcome.SUCCEEDED], counts[Outcome.REJECTED]) == (1, 1)
        assert [line.key for line in cloud.manifests.read(record, 0)] == ["B1", None]
        assert [each.reason for each in failures(cloud.ledger, cloud.manifests, record)] == ["it has no key"]
        # What a second run binds takes the place of what the first one did.
        cloud.deploy(declared("bills"), Location(target.url), {})
        cloud.put_secret("local-target", {"username": "robot", "password": "another"})
        secret = cloud.client("secretsmanager").get_secret_value(SecretId="local-target")["SecretString"]
        assert json.loads(secret)["password"] == "another"
