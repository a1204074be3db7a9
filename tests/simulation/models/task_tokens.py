"""The tokens that state machines give out, and wait for somebody to answer."""

import asyncio

from botocore.exceptions import ClientError

from rollcall.core.values import Json
from tests.simulation.models.refusals import refusal
from tests.simulation.models.states_language import StateFailed


class TaskTimedOut(ClientError):
    """The token has expired, or its task is over."""


class InvalidToken(ClientError):
    """Nobody gave out such a token."""


class TaskTokens:
    """All that were given out; each is answered once."""

    def __init__(self) -> None:
        #: None: its task is over.
        self._waiting: dict[str, asyncio.Future[Json] | None] = {}

    def new(self) -> tuple[str, "asyncio.Future[Json]"]:
        """A token, and its answer to come."""
        token = f"token-{len(self._waiting) + 1}"
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._waiting[token] = answer
        return token, answer

    def over(self, token: str) -> None:
        """Nobody waits for it any more."""
        self._waiting[token] = None

    def succeed(self, token: str, output: Json) -> None:
        self._take(token, "SendTaskSuccess").set_result(output)

    def fail(self, token: str, error: str, cause: str) -> None:
        self._take(token, "SendTaskFailure").set_exception(StateFailed(error, cause))

    def _take(self, token: str, operation: str) -> "asyncio.Future[Json]":
        if token not in self._waiting:
            raise refusal("InvalidToken", operation, f"Invalid Token: '{token}'", kind=InvalidToken)
        answer = self._waiting[token]
        if answer is None:
            raise refusal("TaskTimedOut", operation, f"Task Timed Out: '{token}'", kind=TaskTimedOut)
        self._waiting[token] = None
        return answer
