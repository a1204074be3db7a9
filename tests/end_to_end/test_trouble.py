"""What breaks a run from outside is told in one line, and nobody waits for what cannot come."""

import os
import signal
from pathlib import Path

import pytest

from tests.end_to_end.clone import BILLS, Clone
from tests.end_to_end.processes import environments, until
from tests.end_to_end.server import Answer, Server
from tests.end_to_end.test_command_line import one_line

pytestmark = pytest.mark.end_to_end

IN_THE_WORKER = """import os
if os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "").endswith("worker"):
    raise RuntimeError("no such luck")
"""
END_WITH_A_WORD = """import os
os.write(2, b"no such luck\\n")
os._exit(1)
"""


@pytest.fixture
def broken(own_clone: Clone) -> Clone:
    """A clone in which the worker's module raises when it is imported."""
    own_clone.add_job(BILLS, "books")
    (own_clone.root / "functions/worker/handler.py").write_text(IN_THE_WORKER)
    return own_clone


def test_a_worker_that_cannot_start_ends_the_run_with_what_its_log_says(broken: Clone) -> None:
    told = one_line(broken.rollcall("run", "bills", "--entries", "400"))
    assert "rollcall-local-bills-worker failed " in told
    assert "times in a row: RuntimeError: no such luck; --keep leaves its whole log" in told


def test_a_worker_that_always_raises_ends_the_run_with_its_error_and_its_log(own_clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "bills.py").write_text(IN_THE_WORKER + BILLS.read_text())
    own_clone.add_job(tmp_path / "bills.py", "books")
    told = one_line(own_clone.rollcall("run", "bills", "--entries", "400", "--keep"))
    log = own_clone.root / ".rollcall/rollcall-local-bills-worker.log"
    assert "functions.jobs.books.bills cannot be imported: RuntimeError: no such luck" in told
    assert f"its whole log is {log}" in told
    assert "no such luck" in log.read_text()


def test_a_fan_out_that_cannot_start_ends_the_run_at_once(own_clone: Clone) -> None:
    own_clone.add_job(BILLS, "books")
    (own_clone.root / "functions/fan_out/handler.py").write_text(END_WITH_A_WORD)
    told = one_line(own_clone.rollcall("run", "bills", "--entries", "1"))
    assert "rollcall-local-bills-fan-out failed: " in told
    assert "Runtime exited: the process ended without an answer; its log ends with: no such luck" in told


def test_services_that_end_in_the_middle_are_told_in_one_line(clone: Clone, target: Server) -> None:
    target.forget()
    target.answering = lambda _: Answer()
    running = clone.start("run", "bills", "--entries", "2000", "--target", target.url)
    assert until(lambda: len(target.asked) > 30, 40)
    (ministack,) = [pid for pid, environ in environments(running.mark).items() if "GATEWAY_PORT" in environ]
    os.kill(ministack, signal.SIGKILL)
    told = one_line(running.wait(40))
    assert "MiniStack ended in the middle: " in told
    assert "start the run again" in told


def test_a_folder_that_cannot_be_written_is_told_in_one_line(own_clone: Clone) -> None:
    own_clone.add_job(BILLS, "books")
    kept = own_clone.root / ".rollcall"
    kept.touch()
    told = one_line(own_clone.rollcall("run", "bills", "--keep"))
    assert f"rollcall: {kept}: File exists; see that it can be written to" in told
