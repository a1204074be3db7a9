"""The stand-ins of a local run, as a process."""

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from typing import Any, Self

from tools.local_cloud.isolation import isolated
from tools.local_cloud.ministack import CHECKOUT
from tools.loopback import PRIVATE_UMASK
from tools.stand_ins.bank import Call

#: Which stand-in plays which target, by the path of its base; every other target is played by the generic one.
PLAYED_BY = {"bank": "/bank", "payments": "/bank"}
GENERIC = "/target"


def of_target(base: str, target: str) -> str:
    """The base URL of whoever plays the target of this name, among the stand-ins at `base`."""
    return f"{base}{PLAYED_BY.get(target, GENERIC)}"


class StandInsError(Exception):
    """The stand-ins did not start, and the text is their own, or do not answer any more."""


class StandIns:
    """A context manager: report, target (`<base>/target`) and bank on loopback, for one job."""

    def __init__(self, **options: Any) -> None:
        """Start them with the options of `tools.stand_ins.options`. Raises StandInsError."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.stand_ins"],
            cwd=CHECKOUT,
            env=isolated(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            umask=PRIVATE_UMASK,
            start_new_session=True,
        )
        with contextlib.suppress(BrokenPipeError):  # It ended already, and says why.
            self._write(json.dumps(options) + "\n")
        said = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not said:
            _, trouble = self._process.communicate()
            raise StandInsError(trouble.strip() or "the stand-ins ended without a word")
        self.base = str(json.loads(said)["base"])
        #: Before `/transfers`.
        self.bank = self.of("bank")

    def of(self, target: str) -> str:
        """The base URL of whoever plays the target of this name."""
        return of_target(self.base, target)

    def _write(self, text: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(text)
            self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def counts(self, target: str) -> dict[str, Any]:
        """What was counted by whoever plays the target of this name. Raises StandInsError."""
        stats = self.stats()
        found: dict[str, Any] = stats.pop("bank")
        return found if target in PLAYED_BY else stats

    def stats(self) -> dict[str, Any]:
        """What the target counted, and under `bank` what the bank did. Raises StandInsError."""
        return self._get("stats")

    def bank_calls(self) -> list[Call]:
        """Every POST to the bank so far, where it keeps them (`bank_keeps_calls`). Raises StandInsError."""
        return [Call(*call) for call in self._get("bank-calls")["calls"]]

    def _get(self, what: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self.base}/-/{what}") as answer:  # noqa: S310 - loopback
                found: dict[str, Any] = json.load(answer)
        except OSError as error:
            raise StandInsError(f"the stand-ins do not answer any more ({error}); start the run again") from error
        return found
