"""Executions of a job's state machine, each under a name that only one can ever have."""

from collections.abc import Sequence
from typing import Any

from rollcall.core.names import execution_name
from rollcall.core.run import RunRecord
from rollcall.core.values import canonical

#: Executions of one generation; each but the first follows one that ended and left entries.
MOST_REPAIRS = 99


class Executions:
    """The executions of one state machine."""

    def __init__(self, client: Any, state_machine: str) -> None:
        """`client` is boto3's of Step Functions; `state_machine` an ARN."""
        self._client = client
        self._state_machine = state_machine

    def start(self, run: RunRecord, slices: Sequence[int], repair: int = 0) -> None:
        """Start the execution of the run's generation; one that was ever started is left alone.

        Names are kept for 90 days after an execution's end
        (https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html).
        """
        try:
            self._client.start_execution(
                stateMachineArn=self._state_machine,
                name=execution_name(run.id, run.generation, repair),
                input=canonical({"run": run.id, "generation": run.generation, "slices": list(slices)}),
            )
        except self._client.exceptions.ExecutionAlreadyExists:
            return

    def next_repair(self, run: RunRecord) -> int | None:
        """The number of the execution that may follow; None while one is at work, or where there were too many."""
        for repair in range(MOST_REPAIRS + 1):
            status = self._status(execution_name(run.id, run.generation, repair))
            if status == "RUNNING":
                return None
            if status is None:
                return repair
        return None

    def _status(self, name: str) -> str | None:
        """`RUNNING`, how it ended, or None where there is none of this name."""
        arn = f"{self._state_machine.replace(':stateMachine:', ':execution:')}:{name}"
        try:
            return str(self._client.describe_execution(executionArn=arn)["status"])
        except self._client.exceptions.ExecutionDoesNotExist:
            return None
