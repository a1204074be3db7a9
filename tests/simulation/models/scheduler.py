"""EventBridge Scheduler: when the starts of a job arrive, at least once each, and what they say.

Its words: https://docs.aws.amazon.com/scheduler/latest/UserGuide/what-is-scheduler.html ("at-least-once event
delivery"), https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html ("60 second precision").
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from rollcall.core.schedule import Schedule

#: A target's input may hold it
#: (https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html).
SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"
#: A firing comes within the minute that it is due in.
LATEST = 59.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One start that reaches the target."""

    at: datetime
    event: dict[str, Any]


class Scheduler:
    """The schedules of one job. What becomes of a firing depends on the seed and on the firing alone."""

    def __init__(
        self,
        schedule: Schedule,
        target_input: str,
        *,
        seed: int = 0,
        #: The share of firings that are delivered a second time within the minute, and of those tried again later.
        twice: float = 0.1,
        again: float = 0.1,
        retries: int = 2,
        longest_retry: timedelta = timedelta(minutes=30),
    ) -> None:
        self._schedule = schedule
        self._input = target_input
        self._seed = seed
        self._twice, self._again = twice, again
        self._retries = retries
        self._longest_retry = longest_retry.total_seconds()

    def deliveries(self, start: datetime, end: datetime) -> list[Delivery]:
        """Those of all firings that are due from `start` until before `end`, as they arrive."""
        # Each expression is a schedule of its own; a tick is the job's business.
        singles = [replace(self._schedule, crons=(cron,), tick=None) for cron in self._schedule.crons]
        found = [
            Delivery(due + timedelta(seconds=seconds), self._event(due))
            for single in singles
            for due in single.occurrences(start, end)
            for seconds in self._delays(random.Random(f"{self._seed} {single.crons} {due}"))  # noqa: S311
        ]
        return sorted(found, key=lambda delivery: delivery.at)

    def _delays(self, chance: random.Random) -> Iterator[float]:
        yield chance.uniform(0, LATEST)
        if chance.random() < self._twice:
            yield chance.uniform(0, LATEST)
        if chance.random() < self._again:
            for _ in range(chance.randint(1, self._retries)):
                yield chance.uniform(LATEST, self._longest_retry)

    def _event(self, due: datetime) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self._input.replace(SCHEDULED_TIME, f"{due:%Y-%m-%dT%H:%M:%SZ}"))
        return event
