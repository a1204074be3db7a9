"""What goes wrong in a simulation: drawn request by request from one seed, and counted."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from tests.simulation.models import fibers
from tests.simulation.models.gate import Answer, Crash, Sent, Serve
from tests.simulation.models.refusals import TransactionCanceledException, refusal

#: Who receives from queues and streams for Lambda: a part of AWS that neither crashes nor freezes.
MAPPING = "event source mapping"
#: Who invokes functions for executions of state machines: another such part.
STATES = "state machine"


class Fault(StrEnum):
    """What can happen to a request, to an invocation, to a machine."""

    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost"
    #: The SDK's own retry of a request that was served and whose answer was lost.
    MADE_TWICE = "made twice"
    THROTTLED = "throttled"
    #: Another write to the same item is under way.
    CONFLICT = "transaction conflict"
    #: Part of a batch is refused or left undone.
    PARTIAL = "partial"
    SLOW = "slow"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    #: The environment stands still for longer than its lease, its timeout and its messages' visibility, and goes on.
    FROZEN = "frozen"
    #: A task that Step Functions invokes twice, the one while the other is at work.
    TASK_TWICE = "task twice at once"
    #: An execution that somebody, or Step Functions itself, ends in the middle of a task.
    ABORTED = "execution aborted"
    #: An invocation that Lambda does not start.
    NOT_INVOKED = "not invoked"
    #: An asynchronous invocation that is made twice, or late.
    INVOKED_TWICE = "invoked twice"
    INVOKED_LATE = "invoked late"
    STREAM_LATE = "stream late"
    STREAM_AGAIN = "stream again"
    CLOCK_SKEW = "clock skew"


#: What is drawn for each request; the others have their own occasions.
OF_REQUESTS = (
    Fault.REQUEST_LOST,
    Fault.ANSWER_LOST,
    Fault.MADE_TWICE,
    Fault.THROTTLED,
    Fault.CONFLICT,
    Fault.PARTIAL,
    Fault.SLOW,
    Fault.CRASH_BEFORE,
    Fault.CRASH_AFTER,
    Fault.FROZEN,
    Fault.TASK_TWICE,
    Fault.ABORTED,
)
#: What happens to executions of state machines only.
OF_EXECUTIONS = (Fault.TASK_TWICE, Fault.ABORTED)
_WRITES = frozenset({"UpdateItem", "PutItem", "TransactWriteItems"})
_BATCHES = frozenset({"SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "BatchGetItem"})
_THROTTLES = {
    "dynamodb": "ThrottlingException",
    "sqs": "RequestThrottled",
    "s3": "SlowDown",
    "lambda": "TooManyRequestsException",
    "events": "ThrottlingException",
    "secretsmanager": "ThrottlingException",
    "stepfunctions": "ThrottlingException",
}
LONGEST_SKEW = timedelta(seconds=2)


@dataclass
class Faults:
    """Faults at the rates given, until they stop."""

    #: The share of the requests (or of the other occasions) that each fault hits.
    rates: Mapping[Fault, float]
    seed: int
    #: How long the environment of that name stands still when it freezes; None where it cannot.
    freeze: Callable[[str], float | None] = lambda _: None
    #: Ends the execution of that ARN.
    abort: Callable[[str], object] = lambda _: None
    on: bool = True
    counts: Counter[Fault] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311

    def hits(self, fault: Fault) -> bool:
        """Whether the fault hits now."""
        rate = self.rates.get(fault, 0.0)
        if not self.on or not rate or self._random.random() >= rate:
            return False
        self.counts[fault] += 1
        return True

    # --- requests ---

    def latency(self, sent: Sent) -> tuple[float, float]:
        """Some milliseconds each way, so that requests of different origins come in any order."""
        del sent
        return self._random.uniform(0.001, 0.02), self._random.uniform(0.001, 0.02)

    def __call__(self, sent: Sent, serve: Serve) -> Answer:
        for fault in OF_REQUESTS:
            if self.rates.get(fault) and self.concerns(fault, sent) and self.hits(fault):
                return self._suffer(fault, sent, serve)
        return serve()

    @staticmethod
    def concerns(fault: Fault, sent: Sent) -> bool:
        """Whether it can happen to this request."""
        match fault:
            case Fault.CONFLICT:
                return sent.service == "dynamodb" and sent.operation in _WRITES
            case Fault.PARTIAL:
                return sent.operation in _BATCHES
            case Fault.CRASH_BEFORE | Fault.CRASH_AFTER | Fault.FROZEN:
                return sent.origin not in {MAPPING, STATES}
            case Fault.TASK_TWICE | Fault.ABORTED:
                return sent.origin == STATES
        return True

    def _suffer(self, fault: Fault, sent: Sent, serve: Serve) -> Answer:
        match fault:
            case Fault.REQUEST_LOST:
                raise EndpointConnectionError(endpoint_url=sent.service)
            case Fault.ANSWER_LOST:
                serve()
                raise ReadTimeoutError(endpoint_url=sent.service)
            case Fault.MADE_TWICE:
                serve()
                fibers.pause(self._random.uniform(0.01, 6.0))
                return serve()
            case Fault.THROTTLED:
                raise self._throttled(sent)
            case Fault.CONFLICT:
                raise _conflict(sent)
            case Fault.PARTIAL:
                return self._partly(sent, serve)
            case Fault.SLOW:
                fibers.pause(self._random.uniform(0.1, 6.0))
                return serve()
            case Fault.CRASH_BEFORE:
                raise Crash(f"before {sent}")
            case Fault.CRASH_AFTER:
                serve()
                raise Crash(f"after {sent}")
            case Fault.TASK_TWICE:
                fibers.beside(serve, self._random.choice([0.0, 0.05, self._random.uniform(0.0, 20.0)]))
                return serve()
            case Fault.ABORTED:
                self.abort(sent.parameters["Execution"])
                return serve()
            case _:
                seconds = self.freeze(sent.origin)
                if self._random.random() < 0.5:
                    answer = serve()
                    fibers.pause(seconds or 0.001)
                    return answer
                fibers.pause(seconds or 0.001)
                return serve()

    def _throttled(self, sent: Sent) -> Exception:
        if sent.operation == "TransactWriteItems":
            return _cancelled(sent, "ThrottlingError")
        return refusal(_THROTTLES[sent.service], sent.operation)

    def _partly(self, sent: Sent, serve: Serve) -> Answer:
        """A part of the batch is done, and the answer says so."""
        if sent.operation == "BatchGetItem":
            return self._unprocessed(sent, serve)
        entries: list[dict[str, Any]] = sent.parameters["Entries"]
        done = [entry for entry in entries if self._random.random() < 0.5]
        left = [entry for entry in entries if entry not in done]
        entries[:] = done
        answer = serve() if done else {}
        entries[:] = [*done, *left]
        failed = [self._failed(sent, entry["Id"]) for entry in left]
        return {**answer, "Failed": [*answer.get("Failed", []), *failed]} if failed else answer

    def _failed(self, sent: Sent, name: str) -> dict[str, Any]:
        """An entry of a batch that was not done; a throttle, too, comes as the sender's fault."""
        sender = sent.operation == "SendMessageBatch" and self._random.random() < 0.5
        code = "RequestThrottled" if sender else "InternalError"
        return {"Id": name, "Code": code, "Message": code, "SenderFault": sender}

    def _unprocessed(self, sent: Sent, serve: Serve) -> Answer:
        ((table, wanted),) = sent.parameters["RequestItems"].items()
        keys = list(wanted["Keys"])
        done = [key for key in keys if self._random.random() < 0.5]
        wanted["Keys"] = done
        answer = serve() if done else {"Responses": {table: []}}
        wanted["Keys"] = keys
        left = [key for key in keys if key not in done]
        return {**answer, "UnprocessedKeys": {table: {**wanted, "Keys": left}} if left else {}}

    # --- invocations ---

    def not_invoked(self) -> bool:
        """Whether Lambda refuses to start an invocation: too many of them."""
        return self.hits(Fault.NOT_INVOKED)

    def deliveries(self) -> Sequence[float]:
        """After how many seconds an asynchronous invocation is made, each time that it is."""
        found = [0.0]
        if self.hits(Fault.INVOKED_LATE):
            found = [self._random.uniform(1.0, 600.0)]
        if self.hits(Fault.INVOKED_TWICE):
            found.append(self._random.choice([0.0, self._random.uniform(0.0, 1.0), self._random.uniform(1.0, 1_200.0)]))
        return found

    def stream_delay(self) -> float:
        """Seconds that the stream is late."""
        return self._random.uniform(1.0, 300.0) if self.hits(Fault.STREAM_LATE) else 0.0

    def stream_again(self) -> bool:
        """Whether records of the stream are handed out once more."""
        return self.hits(Fault.STREAM_AGAIN)

    def skew(self, number: int) -> timedelta:
        """How wrong the clock of a new environment is."""
        del number
        if not self.hits(Fault.CLOCK_SKEW):
            return timedelta(0)
        return LONGEST_SKEW * self._random.uniform(-1, 1)


def _conflict(sent: Sent) -> Exception:
    if sent.operation == "TransactWriteItems":
        return _cancelled(sent, "TransactionConflict")
    return refusal("TransactionConflictException", sent.operation)


def _cancelled(sent: Sent, code: str) -> Exception:
    parts = sent.parameters["TransactItems"]
    reasons = [{"Code": code}, *({"Code": "None"} for _ in parts[1:])]
    return refusal(
        "TransactionCanceledException",
        sent.operation,
        kind=TransactionCanceledException,
        CancellationReasons=reasons,
    )
