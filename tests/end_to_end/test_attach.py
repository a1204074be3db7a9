"""Commands in another terminal look at a run under way, and act on it."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.clone import BILLS, Clone, Running
from tests.end_to_end.processes import until
from tests.end_to_end.server import Answer, Asked, Server

pytestmark = pytest.mark.end_to_end

ENTRIES = 60


class Slow:
    """A target that answers when it is told to."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._open = threading.Event()
        server.answering = self._answer

    def _answer(self, asked: Asked) -> Answer:
        del asked
        self._open.wait(60)
        return Answer()

    def answer(self) -> None:
        """Answer all calls from now on."""
        self._open.set()


@pytest.fixture
def slow() -> Iterator[Slow]:
    with Server() as server:
        slow = Slow(server)
        yield slow
        slow.answer()


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    clone = Clone(tmp_path)
    clone.add_job(BILLS, "books")
    return clone


def begin(clone: Clone, slow: Slow) -> tuple[Running, str]:
    """A run whose first calls are under way, and its id."""
    running = clone.start("run", "bills", "--entries", str(ENTRIES), "--target", slow.server.url, "--keep", "--json")
    assert until(lambda: slow.server.asked, 60)
    (bills,) = clone.rollcall("status", "bills", "--json").result["jobs"]
    (run,) = bills["runs"]
    return running, run["run_id"]


def test_a_run_under_way_is_seen_from_another_terminal(clone: Clone, slow: Slow) -> None:
    running, run = begin(clone, slow)
    seen = clone.rollcall("status", run, "--json")
    assert (seen.code, seen.result["state"], seen.result["total"]) == (0, "running", ENTRIES)
    assert clone.rollcall("failures", run, "--json").result["failures"] == []
    assert clone.rollcall("verify", run, "--json").code == 3, "not every entry is settled"
    waiting = clone.start("status", run, "--wait", "--json")
    slow.answer()
    ended, watched = running.wait(), waiting.wait()
    assert (ended.code, ended.result["clean"]) == (0, True), ended.err
    assert (watched.code, watched.result["state"]) == (0, "complete"), watched.err


def test_a_run_under_way_is_paused_resumed_and_cancelled_from_another_terminal(clone: Clone, slow: Slow) -> None:
    running, run = begin(clone, slow)
    assert json.loads(clone.rollcall("pause", "bills", "--json").out)["paused_since"] is not None
    assert json.loads(clone.rollcall("resume", "bills", "--json").out)["paused_since"] is None
    cancelled = clone.rollcall("cancel", run, "--json")
    assert (cancelled.code, cancelled.result["state"]) == (0, "cancelling")
    assert "rollcall status" in cancelled.err, "another process brings it to its end"
    slow.answer()
    ended = running.wait()
    assert ended.result["state"] == "cancelled"
    assert 0 < ended.result["cancelled"] < ENTRIES


def test_a_second_run_and_a_redrive_are_refused_and_disturb_nothing(clone: Clone, slow: Slow) -> None:
    running, run = begin(clone, slow)
    for command in (("run", "bills", "--keep"), ("redrive", run)):
        refused = clone.rollcall(*command)
        assert refused.code == 1
        assert "another run keeps its data in" in refused.err
    slow.answer()
    assert running.wait().result["clean"]
