"""The five final words about an entry."""

from enum import Enum, StrEnum
from typing import Final


class Outcome(StrEnum):
    """How an entry ended. The first outcome that is written stands."""

    SUCCEEDED = "succeeded"
    #: The target said no, or the entry was invalid. Asking again would not help.
    REJECTED = "rejected"
    #: Every attempt was answered, and not well.
    FAILED = "failed"
    #: An attempt was never answered, and asking could not tell.
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"


#: The outcomes that a node of the counting tree keeps a set for; succeeded is what remains of `settled`.
EXCEPTIONAL = (Outcome.FAILED, Outcome.REJECTED, Outcome.UNKNOWN, Outcome.CANCELLED)


class NeverArrived(Enum):
    """What a probe says of a call that its target knows nothing of."""

    NEVER_ARRIVED = "never_arrived"


NEVER_ARRIVED: Final = NeverArrived.NEVER_ARRIVED
