"""Requests to AWS, counted where they leave the client: retries and empty answers included."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any

from botocore.session import Session


class Requests:
    """A tally by service and operation; safe between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def attach(self, session: Session) -> None:
        """Count whatever clients of `session` send."""
        session.register("before-send", self._count)

    def _count(self, event_name: str = "", **_: Any) -> None:
        _, service, operation = event_name.split(".", 2)
        with self._lock:
            self._counts[service, operation] += 1

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
            counts = sorted(self._counts.items())
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for (service, operation), count in counts:
            found[service][operation] = count
        return dict(found)
