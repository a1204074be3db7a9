"""Requests to AWS, counted where they leave the client: retries and empty answers included."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any

from botocore.session import Session

from tools.local_cloud.resources import LEDGER

#: Counted beside the requests: messages that a queue reported as accepted.
ACCEPTED = ("messages", "accepted")
#: The service that requests to the tables of jobs are counted as: what a job does itself is not what a run costs.
TABLES = "dynamodb (tables)"
_LEDGER = f'"{LEDGER}"'.encode()


class Requests:
    """A tally by service and operation; safe between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def handlers(self) -> list[tuple[str, Any]]:
        """What has to be registered with a botocore session, as its `BUILTIN_HANDLERS` are."""
        return [("before-send", self._count), ("after-call.sqs.SendMessageBatch", self._count_messages)]

    def attach(self, session: Session) -> None:
        """Count whatever clients of `session` send."""
        for event, handler in self.handlers():
            session.register(event, handler)

    def _count(self, event_name: str = "", request: Any = None, **_: Any) -> None:
        service, operation = event_name.split(".")[1:3]
        if service == "dynamodb" and _LEDGER not in request.body:
            service = TABLES
        self.add([(service, operation, 1)])

    def _count_messages(self, parsed: Mapping[str, Any], **_: Any) -> None:
        self.add([(*ACCEPTED, len(parsed.get("Successful", [])))])

    def take(self) -> list[tuple[str, str, int]]:
        """The counts since the last take."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return [(service, operation, count) for (service, operation), count in taken.items()]

    def add(self, counts: Iterable[tuple[str, str, int]]) -> None:
        """Add counts of another process."""
        with self._lock:
            for service, operation, count in counts:
                self._counts[service, operation] += count

    def by_service(self) -> Mapping[str, Mapping[str, int]]:
        """`{"sqs": {"ReceiveMessage": 12, …}, …}`, in alphabetical order."""
        with self._lock:
            counts = sorted((name, number) for name, number in self._counts.items() if name != ACCEPTED)
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for (service, operation), number in counts:
            found[service][operation] = number
        return dict(found)

    @property
    def messages_accepted(self) -> int:
        with self._lock:
            return self._counts[ACCEPTED]
