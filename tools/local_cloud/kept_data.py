"""The folder of a kept local cloud: private, written by one cloud at a time, open to commands that attach to it.

The cloud that writes the folder holds an exclusive lock on its file `lock` and publishes its address there. A command
that finds the lock held attaches to that address. It holds a shared lock on the file `attached` while it works, so that
the cloud can wait for it before it ends. The system releases both locks when a process dies, so a dead cloud's address
is never used.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.local_cloud.address import Address
from tools.local_cloud.logs import PRIVATE_FILE
from tools.local_cloud.ministack import START_SECONDS, MiniStackError

#: Only the owner lists, reads and writes a folder.
PRIVATE_FOLDER = 0o700
#: Seconds that a cloud waits at its end for attached commands: two looks of `status --wait`.
ATTACHED_SECONDS = 5.0
#: Seconds between two looks at a lock.
LOOK_SECONDS = 0.05
#: Where MiniStack kept secrets under release 0.1.0.
_OLD_SECRETS = ("state/secretsmanager.json", "state/ssm.json")
_LOCK, _ATTACHED = "lock", "attached"


class InUseError(MiniStackError):
    """Another local cloud writes the folder."""


def make_private(folder: Path) -> None:
    """Make the folder, or make the one that an earlier release left private, and delete the secrets in it."""
    folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    for name in _OLD_SECRETS:
        (folder / name).unlink(missing_ok=True)
    if folder.stat().st_mode & 0o777 == PRIVATE_FOLDER:
        return
    folder.chmod(PRIVATE_FOLDER)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(PRIVATE_FOLDER if path.is_dir() else PRIVATE_FILE)


class KeptData:
    """The exclusive use of a folder by one cloud, until `release`."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is made private. Raises InUseError where another cloud has it."""
        make_private(folder)
        self._folder = folder
        self._lock = _open(folder / _LOCK)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise InUseError(
                f"another run keeps its data in {folder}; wait for its end, or run without --keep"
            ) from error
        os.ftruncate(self._lock, 0)

    def publish(self, address: Address) -> None:
        """Let commands attach to the cloud at `address`."""
        os.pwrite(self._lock, address.text().encode(), 0)

    def end_attachments(self) -> None:
        """Let no further command attach, and wait for those that are attached, for a few seconds."""
        os.ftruncate(self._lock, 0)
        attached = _open(self._folder / _ATTACHED)
        deadline = time.monotonic() + ATTACHED_SECONDS
        try:
            while not _locked(attached, fcntl.LOCK_EX) and time.monotonic() < deadline:
                time.sleep(LOOK_SECONDS)
        finally:
            os.close(attached)

    def release(self) -> None:
        """Leave the folder to the next cloud."""
        os.close(self._lock)


@contextmanager
def attached(folder: Path) -> Iterator[Address | None]:
    """Yield the address of the cloud that writes the folder, or None if no cloud does.

    That cloud waits at its end for the end of the context. Raises InUseError where it publishes no address in time.
    """
    lock = _open(folder / _LOCK)
    shared = _open(folder / _ATTACHED)
    deadline = time.monotonic() + START_SECONDS
    try:
        while _in_use(lock):
            if _published(lock) and _locked(shared, fcntl.LOCK_SH):
                # Once more: the cloud may have begun to wait for attached commands before this one was.
                if address := _published(lock):
                    yield Address.parse(address)
                    return
                fcntl.flock(shared, fcntl.LOCK_UN)
            if time.monotonic() > deadline:
                raise InUseError(f"another command uses {folder} and does not answer; try again when it has ended")
            time.sleep(LOOK_SECONDS)
        yield None
    finally:
        os.close(shared)
        os.close(lock)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)


def _in_use(lock: int) -> bool:
    if not _locked(lock, fcntl.LOCK_SH):
        return True
    fcntl.flock(lock, fcntl.LOCK_UN)
    return False


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _published(lock: int) -> str:
    return os.pread(lock, 4096, 0).decode()
