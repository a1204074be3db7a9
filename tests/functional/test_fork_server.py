"""Execution environments are forked from one process, and share nothing that differs between functions."""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from tests.end_to_end.processes import until
from tools.local_cloud.fork_server import ForkServer
from tools.local_cloud.functions import DiedError, Environment, FunctionError
from tools.local_cloud.ministack import CHECKOUT
from tools.loopback import Keys

HANDLERS = """
import os, sys
calls = 0

def handler(event, context):
    global calls
    calls += 1
    if event == "die":
        os._exit(3)
    print("said", flush=True)
    return [os.environ["WHO"], calls, os.getpid()]
"""
BROKEN = "raise RuntimeError('no such luck')"
TIME = timedelta(seconds=20)


@pytest.fixture
def forks(tmp_path: Path) -> Iterator[ForkServer]:
    (tmp_path / "little.py").write_text(HANDLERS)
    (tmp_path / "broken.py").write_text(BROKEN)
    path = [tmp_path, CHECKOUT, CHECKOUT / "layers/rollcall/python"]
    server = ForkServer(tmp_path / "functions.log", [str(each) for each in path], Keys.fresh())
    yield server
    server.stop()


def environment(forks: ForkServer, folder: Path, who: str, module: str = "little") -> Environment:
    return Environment(forks, f"{module}.handler", {"WHO": who}, folder / f"{who}.log")


def test_each_has_its_own_variables_state_and_log(forks: ForkServer, tmp_path: Path) -> None:
    first, second = environment(forks, tmp_path, "first"), environment(forks, tmp_path, "second")
    assert [first.invoke("", TIME)["result"], first.invoke("", TIME)["result"]] == [
        ["first", 1, first.pid],
        ["first", 2, first.pid],
    ]
    assert second.invoke("", TIME)["result"] == ["second", 1, second.pid]
    assert (tmp_path / "first.log").read_text() == "said\n" * 2
    assert (tmp_path / "second.log").read_text() == "said\n"
    for each in (first, second):
        used = each.stop()
        assert used.cpu_seconds > 0
        assert used.peak_memory_mb > 10


def test_one_that_dies_dies_alone(forks: ForkServer, tmp_path: Path) -> None:
    first, second = environment(forks, tmp_path, "first"), environment(forks, tmp_path, "second")
    with pytest.raises(DiedError, match="the process ended without an answer"):
        first.invoke("die", TIME)
    assert first.ended
    second.invoke("", TIME)
    assert not second.ended
    os.kill(second.pid, signal.SIGKILL)
    assert until(lambda: second.ended, 5), "nobody had to ask it"
    first.stop()
    second.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(second.pid, 0)


def test_one_whose_handler_cannot_be_imported_says_why(forks: ForkServer, tmp_path: Path) -> None:
    broken = environment(forks, tmp_path, "broken", "broken")
    with pytest.raises(FunctionError, match="RuntimeError: no such luck"):
        broken.invoke("", TIME)
    assert "no such luck" in (tmp_path / "broken.log").read_text()
    broken.stop()


def test_what_all_functions_share_is_imported_before_the_fork(forks: ForkServer, tmp_path: Path) -> None:
    (tmp_path / "looking.py").write_text(
        "import sys\nthere = sys.modules.keys() >= {'boto3', 'functions._calling'}\n"
        "def handler(event, context): return there\n"
    )
    looking = environment(forks, tmp_path, "looking", "looking")
    assert looking.invoke("", TIME)["result"] is True
    looking.stop()


def test_a_fork_that_the_system_refuses_is_the_only_one_that_fails(forks: ForkServer, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No such process|No child processes"):
        forks.reap(os.getpid())
    after = environment(forks, tmp_path, "after")
    assert after.invoke("", TIME)["result"][0] == "after"
    after.stop()


def test_nobody_reads_the_answer_that_an_interrupted_request_was_to_get(forks: ForkServer, tmp_path: Path) -> None:
    first = environment(forks, tmp_path, "first")
    answers, forks._answers = forks._answers, MagicMock(readline=MagicMock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        environment(forks, tmp_path, "interrupted")
    forks._answers = answers
    with pytest.raises(OSError, match="has ended"):
        environment(forks, tmp_path, "next")
    assert first.stop().cpu_seconds == 0


def test_whoever_forks_when_the_server_is_gone_is_told_where_to_look(forks: ForkServer, tmp_path: Path) -> None:
    left = environment(forks, tmp_path, "left")
    left.invoke("", TIME)
    assert forks._process is not None
    forks._process.kill()
    with pytest.raises(OSError, match=r"has ended; see .*functions\.log"):
        environment(forks, tmp_path, "nobody")
    left.stop()
