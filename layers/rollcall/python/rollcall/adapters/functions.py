"""Starting other functions of the deployment."""

from typing import TYPE_CHECKING

from rollcall.core.names import function_name
from rollcall.core.values import canonical

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class Functions:
    """The functions of one environment, by kind and job."""

    def __init__(self, client: "LambdaClient", environment: str) -> None:
        self._client = client
        self._environment = environment

    def resume(self, job: str, run: str) -> None:
        """Ask the job's fan-out, asynchronously, to go on with a run."""
        self._ask(job, resume=run)

    def repair(self, job: str, run: str) -> None:
        """Ask the job's fan-out, asynchronously, to send what is unsettled of a run again."""
        self._ask(job, repair=run)

    def _ask(self, job: str, **request: str) -> None:
        self._client.invoke(
            FunctionName=function_name(self._environment, "fan_out", job),
            InvocationType="Event",
            Payload=canonical({"job": job, **request}).encode(),
        )
