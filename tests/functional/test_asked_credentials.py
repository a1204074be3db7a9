"""Credentials that are typed at a terminal, which never shows them."""

import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ASK = """
import fcntl, os, sys, termios
from tools.cli.credentials import own

if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
mine = own(os.environ, target="https://books.example", target_credentials="-")
os.write(2, ascii(mine.target.credentials).encode())
"""


def test_what_is_typed_is_taken_and_not_shown() -> None:
    terminal, end = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", ASK], cwd=ROOT, stdin=end, stdout=end, stderr=subprocess.PIPE, start_new_session=True
    ) as asking:
        os.close(end)
        shown = b""
        # The terminal's echo is off before the prompt is written.
        while b"not shown): " not in shown:
            shown += os.read(terminal, 1_000)
        os.write(terminal, b"robot:sing-sing\n")
        _, taken = asking.communicate(timeout=60)
        shown += os.read(terminal, 1_000)
    os.close(terminal)
    assert taken == b"{'username': 'robot', 'password': 'sing-sing'}"
    assert shown.strip() == b"Credentials of your target (user:password or JSON, not shown):"


def test_without_a_terminal_it_is_said_where_else_they_may_come_from() -> None:
    asked = [str(ROOT / ".venv/bin/rollcall"), "run", "x", "--target", "https://books.example"]
    ended = subprocess.run(
        [*asked, "--target-credentials", "-"],
        input=b"robot:sing-sing\n",
        capture_output=True,
        check=False,
        start_new_session=True,
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        b"rollcall: --target-credentials -: there is no terminal to ask for them on; "
        b"set ROLLCALL_TARGET_CREDENTIALS, or pass --target-credentials FILE\n"
    )
