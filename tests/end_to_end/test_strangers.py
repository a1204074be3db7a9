"""Every port that a command opens is closed to strangers: another user of this machine, a page in a browser."""

import re
from pathlib import Path

import pytest

from tests.end_to_end.clone import BILLS, Clone
from tests.end_to_end.server import Answer, Server
from tests.end_to_end.strangers import Stranger

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets are found in /proc"),
]

#: 127.0.0.1, as /proc writes it.
LOOPBACK = "0100007F"
#: MiniStack, the Lambda API and the stand-ins.
PORTS_OF_A_RUN = 3
KEY_OR_BASE_URL = re.compile(r"ROLLCALL[0-9A-F]{32}|http://127\.0\.0\.1")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, str]:
    """A clone with a kept run."""
    clone = Clone(tmp_path_factory.mktemp("kept"))
    clone.add_job(BILLS, "books")
    ended = clone.rollcall("run", "bills", "--entries", "3", "--error-rate", "0", "--keep", "--json")
    assert ended.code == 0, ended.err
    return clone, ended.result["run_id"]


def test_a_run_refuses_strangers_on_every_port(clone: Clone) -> None:
    running = clone.start("run", "bills", "--entries", "300", "--latency-ms", "100", "--json")
    with Stranger(running.mark) as stranger:
        ended = running.wait()
    assert len(stranger.ports) == PORTS_OF_A_RUN
    assert set(stranger.ports.values()) == {LOOPBACK}
    assert len(stranger.replies) >= PORTS_OF_A_RUN * 20
    assert stranger.accepted == []
    assert (ended.code, ended.result["callbacks"] - ended.result["injected"]) == (0, 300), "nothing was disturbed"
    assert not [line for line in stranger.command_lines if KEY_OR_BASE_URL.search(line)]


@pytest.mark.parametrize(
    ("command", "ports"),
    [
        (("status", "{run}"), 2),
        (("cancel", "{run}"), 2),
        (("resume", "bills"), 2),
        (("verify", "{run}", "--repair"), 2),
        (("run", "bills", "--entries", "30", "--keep"), 3),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else None,
)
def test_a_command_on_kept_data_refuses_strangers(
    kept: tuple[Clone, str], command: tuple[str, ...], ports: int
) -> None:
    clone, run = kept
    running = clone.start(*(word.format(run=run) for word in command))
    with Stranger(running.mark) as stranger:
        running.wait()
    assert len(stranger.ports) == ports
    assert set(stranger.ports.values()) == {LOOPBACK}
    assert stranger.replies
    assert stranger.accepted == []


def test_the_password_of_a_target_is_in_no_file_and_on_no_port(own_clone: Clone, target: Server) -> None:
    own_clone.add_job(BILLS, "books")
    target.answering = lambda _: Answer()
    url = target.url.replace("//", "//robot:correct-horse@")
    running = own_clone.start("run", "bills", "--entries", "50", "--target", url, "--keep", "--json")
    with Stranger(running.mark) as stranger:
        ended = running.wait()
    assert ended.code == 0, ended.err
    assert not [each for each in stranger.replies if b"correct-horse" in each.body]
    kept = [path for path in (own_clone.root / ".rollcall").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"correct-horse" in path.read_bytes()]
