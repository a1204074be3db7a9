"""When a call is made again."""

import math
import random
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from rollcall.core.errors import DeclarationError

#: A message can stay invisible for 12 hours from its receive
#: (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html);
#: an hour is left for the receive itself.
LONGEST_WAIT = timedelta(hours=11)


class Jitter(StrEnum):
    """FULL spreads a wait over 0 to its length, so that failed calls do not come back all at once."""

    FULL = "full"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Retry:
    """`retries` more calls after the first, with growing waits between them.

    `Retry(retries=3, first=timedelta(seconds=2), factor=2)` makes at most 4 calls and waits 2, 4 and 8 seconds
    between them, each shortened by jitter.
    """

    retries: int = 3
    first: timedelta = timedelta(seconds=2)
    #: 1 to 1,000; 1 waits equally long each time.
    factor: float = 2.0
    #: No wait is longer, whatever the factor.
    cap: timedelta = timedelta(minutes=15)
    jitter: Jitter = Jitter.FULL

    def __post_init__(self) -> None:
        if self.retries < 0 or self.retries > 100:
            raise DeclarationError(f"Retry(retries={self.retries}): take 0 to 100; 0 makes one call and no retry")
        if self.first < timedelta(0) or not 1 <= self.factor <= 1_000 or not timedelta(0) <= self.cap <= LONGEST_WAIT:
            raise DeclarationError(
                f"Retry(first={self.first}, factor={self.factor}, cap={self.cap}): waits must not be negative or "
                f"shrink, factor is at most 1,000 and cap at most {LONGEST_WAIT}"
            )

    def wait(self, attempt: int, random_: random.Random, at_least: timedelta | None = None) -> timedelta:
        """How long to wait after attempt number `attempt` (1 is the first call) before the next one.

        `at_least` is the target's own Retry-After, which is honoured up to `LONGEST_WAIT`.
        """
        exponent = min(attempt - 1, 64)
        seconds = min(self.first.total_seconds() * math.pow(self.factor, exponent), self.cap.total_seconds())
        if self.jitter is Jitter.FULL:
            seconds = random_.uniform(0, seconds)
        wait = timedelta(seconds=seconds)
        return wait if at_least is None else min(max(wait, at_least), LONGEST_WAIT)
