"""A play told line by line, for whoever wants to know how it came to a violation."""

import logging
from collections.abc import Callable
from typing import Any

from tests.simulation.models.gate import Answer, Interceptor, Sent, Serve
from tests.simulation.models.s3 import Body
from tests.simulation.models.virtual_time import START, VirtualClock

_FIELDS_OF_LOGGING = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "action"}


class Trace(logging.Handler):
    """Writes requests with their answers, and the engine's log, in the order in which they happen."""

    def __init__(self, clock: VirtualClock, write: Callable[[str], None]) -> None:
        super().__init__()
        self._clock = clock
        self._write = write

    def say(self, text: str) -> None:
        seconds = (self._clock.now() - START).total_seconds()
        self._write(f"{seconds:12.3f}  {text}")

    def emit(self, record: logging.LogRecord) -> None:
        fields = {name: value for name, value in record.__dict__.items() if name not in _FIELDS_OF_LOGGING}
        self.say(f"    {record.getMessage()} {fields}")

    def around(self, interceptor: Interceptor | None) -> Interceptor:
        """An interceptor that tells what another one does."""

        def tell(sent: Sent, serve: Serve) -> Answer:
            try:
                answer = serve() if interceptor is None else interceptor(sent, serve)
            except BaseException as error:
                self.say(
                    f"{sent.origin}: {sent.operation} {_short(sent.parameters)} -> {type(error).__name__}: {error}"
                )
                raise
            if answer or sent.operation != "ReceiveMessage":
                self.say(f"{sent.origin}: {sent.operation} {_short(sent.parameters)} -> {_short(answer)}")
            return answer

        return tell


def _short(value: Any) -> str:
    """Attribute values without their kinds, long texts cut."""
    match value:
        case dict() if len(value) == 1 and next(iter(value)) in {"S", "N", "NS", "SS", "BOOL", "M", "L", "NULL"}:
            return _short(next(iter(value.values())))
        case dict():
            fields = (f"{name}: {_short(each)}" for name, each in value.items() if name not in _DULL)
            return "{" + ", ".join(fields) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_short, value)) + "]"
        case Body():
            return _short(value.getvalue().decode())
        case str():
            return value if len(value) < 200 else value[:200] + "…"
    return str(value)


_DULL = frozenset(
    {
        "TableName",
        "ReturnValues",
        "ReturnValuesOnConditionCheckFailure",
        "expires_at",
        "QueueUrl",
        "MD5OfBody",
        "SenderId",
    }
)
