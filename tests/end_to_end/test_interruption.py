"""Ctrl-C, SIGTERM and SIGKILL: nothing that was started stays."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.end_to_end.clone import Clone, Running
from tests.end_to_end.processes import environments, left, until
from tests.end_to_end.server import Answer, Server

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="processes are found in /proc"),  # noqa: PTH110
]


def in_the_middle(running: Running, target: Server) -> bool:
    del running
    return len(target.asked) > 30


def while_it_starts(running: Running, target: Server) -> bool:
    """Once the stand-in of the report and MiniStack are processes."""
    del target
    return len(environments(running.mark)) >= 3


@pytest.fixture
def slow(target: Server) -> Server:
    target.forget()
    target.answering = lambda _: Answer()
    return target


@pytest.mark.parametrize("moment", [in_the_middle, while_it_starts])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_all_that_it_started(
    clone: Clone, slow: Server, number: signal.Signals, moment: Callable[[Running, Server], bool]
) -> None:
    running = start(clone, slow, moment)
    if number is signal.SIGINT:
        os.killpg(running.process.pid, number)  # as a terminal does
    else:
        running.process.send_signal(number)
    ended = running.wait(20)
    assert left(running.mark, 5) == {}
    assert ended.code == 130
    assert ended.out == ""
    assert ended.err.strip() == "rollcall: interrupted; everything that was started is ended"
    assert [*running.temporary.iterdir()] == []


def test_a_killed_run_leaves_no_process(clone: Clone, slow: Server) -> None:
    # Whoever waited for its target would live for as long as that may take: ten seconds.
    slow.answering = lambda _: Answer() if len(slow.asked) < 20 else None
    running = start(clone, slow, in_the_middle)
    assert len(environments(running.mark)) > 5
    running.process.kill()
    assert running.wait(20).code == -signal.SIGKILL
    assert left(running.mark, 7) == {}


def start(clone: Clone, target: Server, moment: Callable[[Running, Server], bool]) -> Running:
    """A run that has come to this moment."""
    arguments = ("run", "bills", "--entries", "2000", "--target", target.url)
    running = clone.start(*arguments, "--json")
    if not until(lambda: moment(running, target), 40, 0.01):
        running.process.kill()
        raise AssertionError(running.wait())
    return running
