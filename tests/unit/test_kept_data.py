"""A folder of kept data has one local cloud at a time, is private, and lets commands attach to that cloud."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.local_cloud import kept_data
from tools.local_cloud.address import Address
from tools.local_cloud.kept_data import InUseError, KeptData, attached, make_private
from tools.loopback import Keys

ADDRESS = Address("http://127.0.0.1:1", "http://127.0.0.1:2", Keys("id", "secret"))


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_second_cloud_is_refused_in_one_line(tmp_path: Path) -> None:
    first = KeptData(tmp_path)
    with pytest.raises(InUseError, match=r"another run keeps its data in .*; wait"):
        KeptData(tmp_path)
    first.release()


def test_the_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        KeptData(tmp_path).release()


def test_nobody_attaches_where_no_cloud_runs(tmp_path: Path) -> None:
    with attached(tmp_path) as address:
        assert address is None


def test_a_command_attaches_to_the_cloud_that_published_its_address(tmp_path: Path) -> None:
    data = KeptData(tmp_path)
    data.publish(ADDRESS)
    with attached(tmp_path) as address:
        assert address == ADDRESS
    data.release()


def test_the_address_of_a_cloud_that_was_killed_is_not_used(tmp_path: Path) -> None:
    data = KeptData(tmp_path)
    data.publish(ADDRESS)
    data.release()  # as the system does, and the address stays in the file
    assert ADDRESS.text() in (tmp_path / "lock").read_text()
    with attached(tmp_path) as address:
        assert address is None


def test_the_next_cloud_does_not_publish_the_address_of_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = KeptData(tmp_path)
    data.publish(ADDRESS)
    data.release()
    next_one = KeptData(tmp_path)
    monkeypatch.setattr(kept_data, "START_SECONDS", 0.0)
    with pytest.raises(InUseError, match="does not answer"), attached(tmp_path):
        pass
    next_one.release()


def test_a_cloud_waits_for_a_command_that_is_attached(tmp_path: Path) -> None:
    data, order = KeptData(tmp_path), list[str]()
    data.publish(ADDRESS)

    def end() -> None:
        data.end_attachments()
        order.append("the cloud ended")

    with attached(tmp_path):
        cloud = threading.Thread(target=end)
        cloud.start()
        while (tmp_path / "lock").read_text():
            pass  # until the cloud lets no further command attach
        order.append("the command ended")
    cloud.join()
    data.release()
    assert order == ["the command ended", "the cloud ended"]


def test_a_cloud_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_data, "ATTACHED_SECONDS", 0.0)
    data = KeptData(tmp_path)
    data.publish(ADDRESS)
    with attached(tmp_path):
        data.end_attachments()
    data.release()


@pytest.mark.usefixtures("umask")
def test_a_new_folder_and_its_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    data = KeptData(folder)
    data.publish(ADDRESS)
    with attached(folder):
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    data.release()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert modes == {"lock": 0o600, "attached": 0o600}


@pytest.mark.usefixtures("umask")
def test_a_folder_of_an_earlier_release_becomes_private_and_loses_its_secrets(tmp_path: Path) -> None:
    state = tmp_path / "kept" / "state"
    state.mkdir(parents=True)
    (state / "dynamodb.json").write_text("{}")
    (state / "secretsmanager.json").write_text('{"password": "correct-horse"}')
    make_private(tmp_path / "kept")
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "dynamodb.json").stat().st_mode & 0o777 == 0o600
    assert not (state / "secretsmanager.json").exists()
