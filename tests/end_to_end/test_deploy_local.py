"""`make deploy-local`: the real stacks on MiniStack, by the CDK's own command line, and nothing left."""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.processes import environments, left
from tools.local_cloud.ministack import CHECKOUT

pytestmark = [pytest.mark.end_to_end, pytest.mark.accounting]

MARK = "DEPLOY_LOCAL"
ENTRIES = 60
FIELDS = ["deployed", "run_state", "total", "succeeded", "completions", "resources_left", "seconds"]


class Going:
    """It, under way; whatever it starts carries its mark, and writes to `temporary`."""

    def __init__(self, temporary: Path, *arguments: str) -> None:
        self.temporary = temporary
        self.mark = f"{MARK}={uuid.uuid4()}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.deploy_local", *arguments],
            cwd=CHECKOUT,
            env=os.environ | {MARK: self.mark.partition("=")[2], "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def says(self, text: str) -> bool:
        """Whether it comes to say this; what it said until then is read."""
        assert self.process.stderr is not None
        return any(text in line for line in self.process.stderr)

    def left(self) -> tuple[dict[int, str], list[Path]]:
        """Processes and files."""
        return left(self.mark, 5), [*self.temporary.iterdir()]


@pytest.fixture
def going(tmp_path: Path) -> Iterator[Going]:
    going = Going(tmp_path, "--entries", str(ENTRIES), "--error-rate", "0.05")
    yield going
    going.process.kill()
    going.process.communicate()


def test_a_run_goes_through_what_was_deployed_and_all_is_taken_away_again(going: Going) -> None:
    out, told = going.process.communicate(timeout=400)
    assert going.process.returncode == 0, told
    shown = json.loads(out.splitlines()[-1])
    assert [*shown] == FIELDS
    assert shown.pop("seconds") > 0
    assert shown == {
        "deployed": True,
        "run_state": "complete",
        "total": ENTRIES,
        "succeeded": ENTRIES,
        "completions": 1,
        "resources_left": 0,
    }
    invoked = dict(re.findall(r"rollcall-local-client-deposit-update-([a-z-]+) (\d+)", told))
    assert int(invoked["fan-out"]) == 1
    # The failed calls, 5 in 100, came back to the queue.
    assert int(invoked["worker"]) > ENTRIES / 10
    assert going.left() == ({}, [])


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
@pytest.mark.parametrize(("number", "moment"), [(signal.SIGINT, "cdk synth"), (signal.SIGTERM, "cdk deploy")])
def test_cut_short_it_ends_all_that_it_started(going: Going, number: signal.Signals, moment: str) -> None:
    assert going.says(moment)
    assert len(environments(going.mark)) >= 3, "the stand-ins, MiniStack, the CDK"
    going.process.send_signal(number)
    out, told = going.process.communicate(timeout=30)
    assert going.left() == ({}, [])
    assert (going.process.returncode, out) == (130, "")
    assert told.splitlines()[-1] == "rollcall: interrupted; everything that was started is ended"
