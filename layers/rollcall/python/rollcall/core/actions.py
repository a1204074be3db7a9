"""The stable codes of log events. Alarms, dashboards and people search for these; they do not change."""

import logging
from enum import StrEnum

logger = logging.getLogger("rollcall")


class Action(StrEnum):
    """What a log line is about."""

    RUN_STARTED = "run.started"
    RUN_DUPLICATE_START = "run.duplicate_start"
    RUN_SKIPPED = "run.skipped"
    RUN_QUEUED = "run.queued"
    RUN_TAKEN_OVER = "run.taken_over"
    RUN_SEALED = "run.sealed"
    RUN_REFUSED = "run.refused"
    #: Everything is on the queue.
    RUN_DISPATCHED = "run.dispatched"
    #: Its state machine goes over the slices.
    RUN_IN_BATCHES = "run.in_batches"
    SLICE_LEASED = "slice.leased"
    #: A pipeline's run waits for the end of another run.
    STEP_WAITS = "step.waits"
    RUN_WINDOW_FULL = "run.window_full"
    #: Every entry is settled: said by whoever filled the root, and lost if that one dies just then.
    RUN_COMPLETE = "run.complete"
    #: The run came to its end and this was acted on: said once for every generation, whatever its state, by whoever
    #: noted that in the ledger, and lost only if that one dies just then.
    RUN_ANNOUNCED = "run.announced"
    RUN_NOT_ANNOUNCED = "run.not_announced"
    RUN_OVERDUE = "run.overdue"
    #: Its enumeration began an hour ago, and it is not sealed.
    RUN_UNSEALED = "run.unsealed"
    #: For an hour nothing of it was settled, although not everything is held.
    RUN_STALLED = "run.stalled"
    #: How far a sealed run has come: said by every round of the watchdog.
    RUN_PROGRESS = "run.progress"
    #: No start of this occurrence ever came.
    RUN_MISSED = "run.missed"
    RUN_HEALED = "run.healed"
    #: Its job's queue has fewer messages than there are unsettled entries.
    RUN_LACKS_MESSAGES = "run.lacks_messages"
    #: What was unsettled was sent again.
    RUN_REPAIRED = "run.repaired"
    RUN_CANCELLING = "run.cancelling"
    RUN_REDRIVEN = "run.redriven"
    ENTRY_DUPLICATE = "entry.duplicate"
    ENTRY_REJECTED = "entry.rejected"
    #: A redrive under new idempotency keys does not take it: it may have been called without a definite answer.
    ENTRY_LEFT_OUT = "entry.left_out"
    ENTRY_RETRY = "entry.retry"
    ENTRY_FAILED = "entry.failed"
    ENTRY_UNKNOWN = "entry.unknown"
    ENTRY_CANCELLED = "entry.cancelled"
    ENTRY_SUSPECT = "entry.suspect"
    ENTRY_SUPERSEDED = "entry.superseded"
    ENTRY_RETURNED = "entry.returned"
    #: Returned without a call: the target's rate, its breaker, or a paused job.
    ENTRY_HELD = "entry.held"
    ENTRY_ASKED = "entry.asked"
    ENTRY_LATE_ANSWER = "entry.late_answer"
    BREAKER_OPENED = "breaker.opened"
    #: It is still open, and runs wait for it: said by every round of the watchdog.
    BREAKER_OPEN = "breaker.open"
    BREAKER_CLOSED = "breaker.closed"
    MESSAGE_DROPPED = "message.dropped"
    DEAD_LETTER_SETTLED = "dead_letter.settled"
    HOOK_FAILED = "hook.failed"
    #: The watchdog has looked after everything, and nothing of that failed.
    WATCHDOG_ROUND = "watchdog.round"
    #: A target answered 401, and its secret was read again.
    CREDENTIALS_REFUSED = "credentials.refused"
    CREDENTIALS_UNREADABLE = "credentials.unreadable"


def log(action: Action, level: int = logging.INFO, /, **fields: object) -> None:
    """Write one event: `action` as message and as key, `fields` beside it.

    Never a secret, nor a value of a payload, a key, or an answer's text: of an error its class or `words_of` it.
    """
    logger.log(level, action.value, extra={"action": action.value, **fields})


def entry_fields(run: str, generation: int, index: int) -> dict[str, object]:
    """The fields that name an entry in a log line: its key is data of the report, and only the ledger keeps that."""
    return {"run": run, "generation": generation, "index": index}
