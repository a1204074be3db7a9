"""Task tokens: who waits for the end of a run, and the answer that they get."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rollcall.adapters.ledger.records import Ledger, expiry, waiting_key
from rollcall.adapters.ledger.update import ConditionFailed, Update
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunCompleted, RunRecord, RunState
from rollcall.core.values import canonical

#: Races between steps that wait for one run.
MOST_CONFLICTS = 10
#: https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskFailure.html
LONGEST_CAUSE = 32_768


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step of a pipeline that waits for the end of a run."""

    #: All that its state machine has given out; those before the last are used up.
    tokens: frozenset[str]
    #: The pipeline's run and its generation.
    by: str
    #: The generation of the run whose end it waits for.
    generation: int


def of(ledger: Ledger, run: str) -> Waiting | None:
    """Who waits for the run, or waited last."""
    item = ledger.items([waiting_key(run)]).get(waiting_key(run))
    return None if item is None else Waiting(item.get("tokens", frozenset()), item["by"], item["generation"])


def note(ledger: Ledger, run: str, waiting: Waiting, token: str, pipeline: RunRecord) -> None:
    """Keep that `token` is to be told of the end of `run`, beside those of the same step: none that is noted at the
    same time is lost. Raises RollcallError where others note theirs again and again.
    """
    for _ in range(MOST_CONFLICTS):
        added = Update().set(expires_at=expiry(pipeline)).add("tokens", [token])
        added.when_equal(by=waiting.by, generation=waiting.generation)
        try:
            added.send(ledger.client, ledger.table, waiting_key(run))
            return
        except ConditionFailed as failure:
            before = failure.old
        first = Update().set(tokens=frozenset({token}), by=waiting.by, generation=waiting.generation)
        first.set(expires_at=expiry(pipeline))
        if before:
            first.when_equal(by=before["by"], generation=before["generation"])
        else:
            first.when_absent("by")
        with suppress(ConditionFailed):
            first.send(ledger.client, ledger.table, waiting_key(run))
            return
    raise RollcallError(f"others note that they wait for {run}, {MOST_CONFLICTS} times in a row; try again")


class TaskTokens:
    """Answers those who wait."""

    def __init__(self, client: Any) -> None:
        """`client` is boto3's of Step Functions."""
        self._client = client

    def answer(self, token: str, ended: RunCompleted) -> None:
        """Tell how a run ended: its counts, or why it came to nothing."""
        if ended.state is RunState.COMPLETE:
            self._send(self._client.send_task_success, token, output=canonical(ended.detail()))
        else:
            cause = (ended.reason or ended.state.value)[:LONGEST_CAUSE]
            error = f"Rollcall.{ended.state.value.title()}"
            self._send(self._client.send_task_failure, token, error=error, cause=cause)

    def let_go(self, token: str) -> None:
        """Let a step go on that has nothing to wait for."""
        self._send(self._client.send_task_success, token, output="{}")

    def _send(self, send: Callable[..., object], token: str, **answer: str) -> None:
        """A token that is used up is answered
        (https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-wait-token).
        """
        errors = self._client.exceptions
        # The last: what a state machine that is gone, or a local cloud before this one, gave out.
        with suppress(errors.TaskTimedOut, errors.TaskDoesNotExist, errors.InvalidToken):
            send(taskToken=token, **answer)
