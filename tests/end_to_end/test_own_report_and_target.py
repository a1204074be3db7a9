"""A report and a target of the user's own: what is wrong in the one is told, the other gets all the rest."""

import base64
import csv
import json
from pathlib import Path

import pytest

from tests.end_to_end.clone import BILLS as BILLS_JOB
from tests.end_to_end.clone import Clone
from tests.end_to_end.server import Answer, Asked, Server
from tests.ended import Ended

pytestmark = pytest.mark.end_to_end

JOB = "bills"
PASSWORD = "p@ss:w/ord"
IN_URL = "robot:p%40ss%3Aw%2Ford"
WELL: dict[str, object] = {"Bill_ID": "BILL-1", "Client": "Zoë Ünal 日本語", "Balance": "12.50"}
BILLS: list[dict[str, object]] = [
    WELL,
    {"Bill_ID": "BILL-2", "Client": "A", "Balance": 7},
    {"Bill_ID": "BILL-é", "Client": "B", "Balance": "1"},
    WELL,
    {"Client": "nobody", "Balance": "1"},
    {"Bill_ID": "", "Client": "C", "Balance": "1"},
    {"Bill_ID": 17, "Client": "D", "Balance": "1"},
    {"Bill_ID": "BILL-3", "Client": "E", "Balance": "much"},
    {"Bill_ID": "BILL-4", "Client": "F" * 1_000_000, "Balance": "1"},
]
CALLED = {"/api/client-bills/BILL-1/status", "/api/client-bills/BILL-2/status", "/api/client-bills/BILL-%C3%A9/status"}
REASONS = {
    "number 4": "it has no key",
    "number 5": "its key is empty",
    "number 6": "its key is of type int, not text: 17",
    "BILL-3": "Balance: Input should be a valid decimal",
    "BILL-4": "too large: its payload has 1,000,0",
}


def write_json(folder: Path) -> Path:
    path = folder / "bills.json"
    path.write_text(json.dumps({"Report_Data": 1, "Report_Entry": BILLS}, ensure_ascii=False), "utf-8")
    return path


def write_json_lines(folder: Path) -> Path:
    path = folder / "bills.jsonl"
    path.write_text("".join(json.dumps(bill) + "\n\n" for bill in BILLS), "utf-8")
    return path


def write_csv(folder: Path) -> Path:
    """As a spreadsheet writes it: a byte order mark, and every field is text."""
    path = folder / "bills.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as lines:
        writer = csv.DictWriter(lines, ["Bill_ID", "Client", "Balance"])
        writer.writeheader()
        writer.writerows(bill for bill in BILLS if len(str(bill["Client"])) < 100)
    return path


def run(clone: Clone, server: Server, report: Path | str, *more: str) -> Ended:
    server.forget()
    target = server.url.replace("//", f"//{IN_URL}@") + "/api/"
    return clone.rollcall("run", JOB, "--report", str(report), "--target", target, *more, environ={"COLUMNS": "200"})


def test_invalid_entries_are_told_and_all_others_called(clone: Clone, target: Server, tmp_path: Path) -> None:
    ended = run(clone, target, write_json(tmp_path))
    assert ended.code == 3, ended.err
    assert "complete, not clean" in ended.out
    rows = [line for line in ended.out.splitlines() if "rejected" in line and "│" in line]
    for key, reason in REASONS.items():
        assert any(key in row and reason in row for row in rows), (key, rows)
    assert len(rows) == len(REASONS)
    assert PASSWORD not in ended.out + ended.err
    assert set(target.paths()) == CALLED
    assert set(target.paths().values()) == {1}


def test_the_target_gets_bodies_keys_and_credentials(clone: Clone, target: Server, tmp_path: Path) -> None:
    ended = run(clone, target, write_json_lines(tmp_path), "--json")
    assert ended.code == 3, ended.err
    result = ended.result
    counts = [result[name] for name in ("total", "succeeded", "rejected", "duplicates", "messages_sent", "completions")]
    assert counts == [8, 3, 5, 1, 3, 1]
    assert (result["state"], result["clean"], result["callbacks"]) == ("complete", False, None)
    assert set(target.paths()) == CALLED
    expected = "Basic " + base64.b64encode(f"robot:{PASSWORD}".encode()).decode()
    assert {asked.headers["authorization"] for asked in target.asked} == {expected}
    keys = {asked.key for asked in target.asked}
    assert len(keys) == 3
    assert all(key.startswith(f"{result['run_id']}-") for key in keys)
    bodies = {asked.path.split("/")[3]: asked.json() for asked in target.asked}
    assert bodies["BILL-1"] == {"status": "paid", "client": "Zoë Ünal 日本語", "balance": "12.50"}
    assert {asked.method for asked in target.asked} == {"PUT"}


@pytest.mark.parametrize("way", ["variable", "file"])
def test_credentials_need_not_be_on_the_command_line(clone: Clone, target: Server, tmp_path: Path, way: str) -> None:
    target.forget()
    file = tmp_path / "credentials"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"token": PASSWORD}))
    environ = {"ROLLCALL_TARGET_CREDENTIALS": f"robot:{PASSWORD}"} if way == "variable" else {}
    given = () if way == "variable" else ("--target-credentials", str(file))
    report = str(write_csv(tmp_path))
    ended = clone.rollcall("run", JOB, "--report", report, "--target", f"{target.url}/api", *given, environ=environ)
    assert ended.code == 3, ended.err
    assert ended.err == ""
    basic = base64.b64encode(f"robot:{PASSWORD}".encode()).decode()
    expected = f"Basic {basic}" if way == "variable" else f"Bearer {PASSWORD}"
    assert {asked.headers["authorization"] for asked in target.asked} == {expected}


def test_credentials_on_the_command_line_are_said_to_be_seen_by_others(
    clone: Clone, target: Server, tmp_path: Path
) -> None:
    ended = run(clone, target, write_csv(tmp_path))
    assert ended.code == 3, ended.err
    assert ended.err.count("\n") == 1
    assert "other users of this machine can see the credentials in the URL of --target" in ended.err


def test_a_spreadsheet_is_a_report_by_the_url_of_its_file(clone: Clone, target: Server, tmp_path: Path) -> None:
    ended = run(clone, target, write_csv(tmp_path).as_uri(), "--json")
    assert ended.code == 3, ended.err
    counts = [ended.result[name] for name in ("total", "succeeded", "rejected", "duplicates")]
    # 17 is text here and so a good key; the two without a key are rejected, and so is the balance that is none.
    assert counts == [7, 4, 3, 1]
    assert set(target.paths()) == CALLED | {"/api/client-bills/17/status"}


@pytest.mark.parametrize(
    ("report", "told"), [("nowhere.json", "there is no file"), ("s3://bucket/bills.json", "reads no S3 of AWS")]
)
def test_a_report_that_cannot_be_bound_is_told_in_one_line(
    clone: Clone, target: Server, report: str, told: str
) -> None:
    ended = run(clone, target, report)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    assert told in ended.err
    assert not target.asked


def test_a_target_that_repeats_its_credentials_has_them_repeated_nowhere(
    own_clone: Clone, target: Server, tmp_path: Path
) -> None:
    def echo(asked: Asked) -> Answer:
        said = json.dumps({"as": IN_URL, "refused": asked.headers["authorization"]})
        return Answer(503 if "BILL-2" in asked.path else 422, said.encode(), headers={"X-Said": PASSWORD})

    own_clone.add_job(BILLS_JOB, "books")
    target.answering = echo
    ended = run(own_clone, target, write_json(tmp_path), "--keep", "--json")
    assert ended.code == 3, ended.err
    basic = base64.b64encode(f"robot:{PASSWORD}".encode()).decode()
    assert {asked.headers["authorization"] for asked in target.asked} == {f"Basic {basic}"}
    failures = own_clone.rollcall("failures", ended.result["run_id"], "--json")
    assert "[secret]" in failures.out
    kept = [path for path in (own_clone.root / ".rollcall").rglob("*") if path.is_file()]
    texts = [ended.out, ended.err, failures.out, *(path.read_text(errors="replace") for path in kept)]
    for shown in (PASSWORD, IN_URL.partition(":")[2], basic):
        assert not [text for text in texts if shown in text]
