"""MiniStack's process: its services behind our guard, on a socket that its parent listens on.

Runs in MiniStack's own environment. It ends when its standard input does, so it never outlives its parent.
"""

import asyncio
import importlib
import os
import resource
import signal
import sys
import threading
from typing import Any

from tools.local_cloud import ministack_batches, ministack_guard, ministack_queues
from tools.local_cloud.ministack_guard import LISTENER
from tools.loopback import Keys, authority

#: Seconds that MiniStack keeps an idle connection.
KEEP_ALIVE_SECONDS = 75


def main() -> None:
    """Serve until standard input ends or a signal comes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keys = Keys(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    ministack_queues.apply()
    ministack_batches.apply(keys)
    ministack_guard.give_functions(keys)
    ministack_guard.give_sessions(keys)
    emulator: Any = importlib.import_module("ministack.app")
    ministack_guard.keep_no_secrets(emulator)
    _raise_limit_of_open_files()
    guard = ministack_guard.Guard(emulator.app, authority(int(os.environ["GATEWAY_PORT"])), keys.access_key_id)
    hypercorn: Any = importlib.import_module("hypercorn.asyncio")
    asyncio.run(hypercorn.serve(guard, _config()))


def _config() -> Any:
    config = importlib.import_module("hypercorn.config").Config()
    config.bind = [f"fd://{os.environ.pop(LISTENER)}"]
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.loglevel = os.environ["LOG_LEVEL"]
    return config


def _raise_limit_of_open_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
