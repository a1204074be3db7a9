"""Starting other functions of the deployment."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rollcall.core.names import function_name
from rollcall.core.run import Redrive, RunRecord, iso, run_id
from rollcall.core.values import canonical

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class Functions:
    """The functions of one environment, by kind and job; all are asked asynchronously, and Lambda tries again."""

    def __init__(self, client: "LambdaClient", environment: str) -> None:
        self._client = client
        self._environment = environment

    def start(self, job: str, scheduled_for: datetime, nonce: str | None, params: Mapping[str, str]) -> str:
        """Ask the job's fan-out to start a run; `nonce` sets those by hand apart. Returns the run's id.

        Raises ValueError where it can have none.
        """
        run = run_id(job, scheduled_for, nonce)
        self._ask(job, scheduled_time=iso(scheduled_for), nonce=nonce, params=dict(params))
        return run

    def redrive(self, run: RunRecord, redrive: Redrive) -> None:
        """Ask the job's fan-out to settle chosen entries of a terminal run again, as they are in its generation."""
        self._ask(run.job, redrive=run.id, generation=run.generation, **redrive.fields())

    def resume(self, job: str, run: str) -> None:
        """Ask the job's fan-out to go on with a run."""
        self._ask(job, resume=run)

    def repair(self, job: str, run: str) -> None:
        """Ask the job's fan-out to send what is unsettled of a run again."""
        self._ask(job, repair=run)

    def watch(self) -> None:
        """Ask the watchdog for a round beside those of every minute."""
        self._invoke(function_name(self._environment, "watchdog"), {})

    def _ask(self, job: str, **request: object) -> None:
        self._invoke(function_name(self._environment, "fan_out", job), {"job": job, **request})

    def _invoke(self, function: str, event: Mapping[str, Any]) -> None:
        self._client.invoke(FunctionName=function, InvocationType="Event", Payload=canonical(event).encode())
