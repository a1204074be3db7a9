"""Batches: a job's entries in slices, handled one after another by a state machine, with a pause between."""

from dataclasses import dataclass
from datetime import timedelta

from rollcall.core.errors import DeclarationError
from rollcall.core.values import Json

#: The most iterations of an inline Map at once
#: (https://docs.aws.amazon.com/step-functions/latest/dg/state-map-inline.html).
MOST_AT_ONCE = 40
#: Events that one execution's history may have; with more it fails
#: (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html).
MOST_EVENTS = 25_000
#: Of a slice's own: its iteration begins and ends, and so does its last state.
EVENTS_OF_A_SLICE = 4
#: Of each time it is handled: five of the task, two each of the choice and of the wait.
EVENTS_OF_A_ROUND = 9
#: Entries of a slice, as of a chunk: it then lies in two chunks at most.
MOST_IN_A_SLICE = 250
LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Batches:
    """Delivery in bounded batches instead of by a queue.

    Raises DeclarationError for what an inline Map cannot do.
    """

    #: Entries of a batch.
    size: int = 50
    #: Batches at work at the same time.
    at_once: int = 1
    #: Between the end of a batch and the beginning of the next, in whole seconds.
    pause: timedelta = timedelta(seconds=1)
    #: A run of more is refused before anybody is called.
    most_entries: int = 10_000

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MOST_IN_A_SLICE:
            raise DeclarationError(f"batches: size is {self.size}; a batch has 1 to {MOST_IN_A_SLICE} entries")
        if not 1 <= self.at_once <= MOST_AT_ONCE:
            raise DeclarationError(
                f"batches: at_once is {self.at_once}; an inline Map takes 1 to {MOST_AT_ONCE} at a time, so lower it, "
                f"or leave delivery out: a queue has no such limit"
            )
        if not timedelta(0) <= self.pause <= LONGEST_PAUSE or self.pause % timedelta(seconds=1):
            raise DeclarationError(
                f"batches: pause is {self.pause}; a state machine waits whole seconds, and here at most {LONGEST_PAUSE}"
            )
        if self.most_entries < 1:
            raise DeclarationError(f"batches: most_entries is {self.most_entries}; a run has at least one")

    def slices(self, total: int) -> int:
        """How many slices `total` entries are."""
        return -(-total // self.size)

    def events(self, total: int, rounds: int) -> int:
        """Events in the history of an execution for `total` entries, each slice handled `rounds` times."""
        return self.slices(total) * (EVENTS_OF_A_SLICE + rounds * EVENTS_OF_A_ROUND)

    def check(self, job: str, retries: int) -> None:
        """Raise DeclarationError where the retries of the most entries would overflow an execution's history."""
        events = self.events(self.most_entries, retries + 1)
        if events > MOST_EVENTS:
            raise DeclarationError(
                f"job {job}: {self.most_entries:,} entries in batches of {self.size} with {retries} retries are up to "
                f"{events:,} events, and an execution's history takes {MOST_EVENTS:,}; take larger batches or fewer "
                f"entries, or leave delivery out: a queue has no such limit"
            )

    def too_many(self, total: int) -> str | None:
        """Why a run of `total` entries must not be sealed, or None."""
        if total <= self.most_entries:
            return None
        return (
            f"it has {total:,} entries, and its batches are declared for {self.most_entries:,} at most; raise "
            f"most_entries, or deliver by a queue"
        )


def definition(batches: Batches, function: str) -> dict[str, Json]:
    """The state machine of a job in Amazon States Language; `function` is the ARN of its batch function.

    Its input: `{"run": …, "generation": …, "slices": [0, 1, …]}`. A slice is handled again, after the wait that its
    handler answers, until nothing of it waits for another attempt; then comes the pause. A slice whose handler fails
    for good keeps no other from its turn: what is left of it is found by the watchdog.
    """
    handle: dict[str, Json] = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload.$": "$"},
        "ResultSelector": {"again.$": "$.Payload.again", "wait_seconds.$": "$.Payload.wait_seconds"},
        "ResultPath": "$.answer",
        "Retry": [
            {
                "ErrorEquals": ["States.ALL"],
                "IntervalSeconds": 2,
                "BackoffRate": 2,
                "MaxAttempts": 3,
                "MaxDelaySeconds": 30,
                "JitterStrategy": "FULL",
            }
        ],
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "Left to the watchdog"}],
        "Next": "Is it settled?",
    }
    slice_states: dict[str, Json] = {
        "Handle the slice": handle,
        "Is it settled?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.answer.again", "BooleanEquals": True, "Next": "Wait for the rest"}],
            "Default": "Pause",
        },
        "Wait for the rest": {"Type": "Wait", "SecondsPath": "$.answer.wait_seconds", "Next": "Handle the slice"},
        "Pause": {"Type": "Wait", "SecondsPath": "$.answer.wait_seconds", "Next": "Done"},
        "Left to the watchdog": {
            "Type": "Wait",
            "Seconds": int(batches.pause.total_seconds()),
            "Next": "Done",
        },
        "Done": {"Type": "Pass", "Result": {}, "End": True},
    }
    return {
        "Comment": f"Slices of {batches.size} entries, {batches.at_once} at a time",
        "StartAt": "Slices",
        "States": {
            "Slices": {
                "Type": "Map",
                "ItemsPath": "$.slices",
                "ItemSelector": {"run.$": "$.run", "generation.$": "$.generation", "slice.$": "$$.Map.Item.Value"},
                "MaxConcurrency": batches.at_once,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "Handle the slice",
                    "States": slice_states,
                },
                "ResultPath": None,
                "End": True,
            }
        },
    }
