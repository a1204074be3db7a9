"""The states of a transfer, and the meaning of the bank's answers."""

from enum import Enum, StrEnum, auto

#: Answers about our request and not about the transfer in it: credentials, addresses.
_NOT_ABOUT_THE_TRANSFER = frozenset({401, 403, 404, 405})
#: Timeout, Too Early, Too Many Requests: the bank asks to be called again.
_NOT_NOW = frozenset({408, 425, 429})
_CONFLICT = 409


class State(StrEnum):
    """The state of a transfer; execute_transfers.py describes the transitions."""

    PENDING = "PENDING"
    IN_FLY = "IN_FLY"
    PROCESSING = "PROCESSING"
    RETRY = "RETRY"
    FINISHED = "FINISHED"
    FAILED = "FAILED"


#: States that a run takes, IN_FLY first, so that it does not find its own marked transfers.
TAKEN = (State.IN_FLY, State.RETRY, State.PENDING)
#: States that may change to RETRY or FAILED, after a call that the bank did not accept.
OPEN = (*TAKEN, State.PROCESSING)
#: States from which a transfer may be sent to the bank; a failed one by a redrive.
CALLABLE = (*OPEN, State.FAILED)
#: States of transfers that are archived once they are old enough.
ARCHIVED = (State.FINISHED, State.FAILED)


class Meaning(Enum):
    """The meaning of an answer other than 2xx for the transfer."""

    #: The bank will not do it.
    REFUSED = auto()
    #: The bank did not look at it, or could not do it now.
    DOWN = auto()
    #: The bank is still at an earlier call with this key.
    UNDER_WAY = auto()


def meaning(status: int) -> Meaning:
    """Return the meaning of an answer with this status, which is not 2xx."""
    if status == _CONFLICT:
        return Meaning.UNDER_WAY
    if 400 <= status < 500 and status not in _NOT_NOW | _NOT_ABOUT_THE_TRANSFER:
        return Meaning.REFUSED
    return Meaning.DOWN
