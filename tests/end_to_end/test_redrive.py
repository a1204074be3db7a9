"""Failures of a kept run, and their redrive, by the commands that a person types."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.clone import BILLS, Clone
from tests.end_to_end.server import Answer, Asked, Server
from tests.end_to_end.test_command_line import one_line
from tests.ended import Ended
from tools.local_cloud.ministack import CHECKOUT

pytestmark = pytest.mark.end_to_end

ONE_CALL = ("needs=[BILLS]", "retry=Retry(retries=0), needs=[BILLS]"), ("Run, Target", "Retry, Run, Target")
TRANSFERS = CHECKOUT / "functions/jobs/transfers/execute_transfers.py"
REFUSED, DOWN = "/client-bills/BILL-000003/status", "/client-bills/BILL-000007/status"


def changed(file: Path, *changes: tuple[str, str]) -> None:
    """Change a file of a clone, and see that there was something to change."""
    text = file.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    file.write_text(text)


def listed(ended: Ended) -> dict[str, dict[str, Any]]:
    """What `rollcall failures --json` lists, by key."""
    assert ended.code == 0, ended.err
    return {each["key"]: each for each in ended.result["failures"]}


def test_failures_of_a_kept_run_are_listed_and_settled_again(own_clone: Clone, target: Server) -> None:
    changed(own_clone.add_job(BILLS, "books"), *ONE_CALL)
    statuses = {REFUSED: Answer(422, b"no such bill"), DOWN: Answer(500, b"out of order")}

    def answering(asked: Asked) -> Answer:
        return statuses.get(asked.path, Answer())

    target.forget()
    target.answering = answering
    bound = ("--target", target.url, "--json")
    ended = own_clone.rollcall("run", "bills", "--entries", "30", "--keep", *bound)
    assert ended.code == 3, ended.err
    run = ended.result["run_id"]
    found = listed(own_clone.rollcall("failures", run, "--json"))
    assert {key: (each["outcome"], each["error"], each["attempts"]) for key, each in found.items()} == {
        "BILL-000003": ("rejected", "http_422", 1),
        "BILL-000007": ("failed", "http_500", 1),
    }
    assert found["BILL-000003"]["reason"] == "HTTP 422: no such bill"
    assert found["BILL-000003"]["payload"]["Client"] == "Client 3"
    table = own_clone.rollcall("failures", run, "--error", "http_500").out
    assert "BILL-000007" in table
    assert "BILL-000003" not in table

    statuses.clear()
    ended = own_clone.rollcall("redrive", run, "--outcome", "failed", *bound)
    assert ended.code == 0, ended.err
    result = ended.result
    counts = [result[name] for name in ("run_id", "generation", "total", "succeeded", "clean", "completions")]
    assert counts == [run, 2, 1, 1, True, 1]
    assert {path: count for path, count in target.paths().items() if count > 1} == {DOWN: 2}
    assert len({asked.key for asked in target.asked if asked.path == DOWN}) == 1
    assert listed(own_clone.rollcall("failures", run, "--json")).keys() == {"BILL-000003"}
    told = one_line(own_clone.rollcall("redrive", run, "--outcome", "failed"))
    assert f"no entry of {run} is chosen; see what there is with: rollcall failures {run}" in told
    told = one_line(own_clone.rollcall("redrive", "bills-20260101T000000Z"))
    assert "there is no run bills-20260101T000000Z in " in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("failures", "bills-20260101T000000Z"),
            "there is no kept local cloud; make one with: rollcall run JOB --keep",
        ),
        (("redrive", "bills-20260101T000000Z"), "there is no kept local cloud"),
        (("redrive", "bills-20260101T000000Z", "--outcome", "lost"), "'lost' is not one of 'succeeded', 'rejected'"),
        (
            ("failures", "bills-20260101T000000Z", "--outcome", "succeeded"),
            "entries that succeeded are neither failures",
        ),
        (("redrive",), "Missing argument"),
    ],
)
def test_what_cannot_be_listed_or_settled_again_is_told_in_one_line(
    clone: Clone, arguments: tuple[str, ...], told: str
) -> None:
    assert told in one_line(clone.rollcall(*arguments))


@pytest.mark.skipif(not TRANSFERS.exists(), reason="the job of transfers is deleted")
@pytest.mark.parametrize("keys", [True, False], ids=["with keys", "without keys"])
def test_a_redrive_of_transfers_whose_answers_were_lost_moves_nothing_twice(tmp_path: Path, keys: bool) -> None:
    """The answers are lost after the money was moved, and nobody could ask: unknown. The bank's books are kept."""
    clone = Clone(tmp_path, jobs=True)
    transfers = clone.root / "functions/jobs/transfers"
    if not keys:
        changed(transfers / "_targets.py", ("keys=Keys(window=timedelta(hours=20))", "keys=None"))
        changed(
            transfers / "_targets.py", ("settles_within=timedelta(minutes=5)", "settles_within=timedelta(seconds=0)")
        )
    whole = transfers / TRANSFERS.name
    kept = shutil.copy(whole, tmp_path / "kept")
    changed(whole, ("@job.probe\n", ""), ("Retry(retries=3", "Retry(retries=0"))
    bank = ("--stand-in", f"bank_keys={'true' if keys else 'false'}", "--json")
    command = ("run", "execute-transfers", "--entries", "40", "--error-rate", "0", "--keep")
    ended = clone.rollcall(*command, "--stand-in", "bank_lost_rate=0.3", *bank)
    assert ended.code == 3, ended.err
    first = ended.result
    assert 0 < first["unknown"] < 40
    assert first["unknown"] + first["succeeded"] == 40
    assert first["bank"]["movements"] == 40

    again = ("redrive", first["run_id"], "--outcome", "unknown", *bank)
    if not keys:
        ended = clone.rollcall(*again)
        assert (ended.code, ended.result["unknown"]) == (3, first["unknown"]), "nobody to ask: never called"
        assert ended.result["bank"]["movements"] == 40
        shutil.copy(kept, whole)
    ended = clone.rollcall(*again)
    assert ended.code == 0, ended.err
    assert (ended.result["total"], ended.result["completions"]) == (first["unknown"], 1)
    assert (ended.result["bank"]["movements"], ended.result["bank"]["moved_twice"]) == (40, [])
    assert listed(clone.rollcall("failures", first["run_id"], "--json")) == {}
