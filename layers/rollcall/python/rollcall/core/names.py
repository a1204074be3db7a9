"""The names of what is deployed, by environment and job, written in one place for stacks and functions."""

import hashlib

#: https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
LONGEST_FUNCTION_NAME = 64
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
LONGEST_QUEUE_NAME = 80
FIFO = ".fifo"


def function_name(environment: str, kind: str, job: str | None = None) -> str:
    """`rollcall-<environment>-<job>-<kind>`, as in `rollcall-dev-client-deposit-update-fan-out`."""
    parts = ["rollcall", environment, *([job] if job else []), kind.replace("_", "-")]
    return _fitted("-".join(parts), LONGEST_FUNCTION_NAME)


def queue_name(environment: str, job: str) -> str:
    """The job's FIFO queue."""
    return _fitted(f"rollcall-{environment}-{job}", LONGEST_QUEUE_NAME - len(FIFO)) + FIFO


def dead_letter_queue_name(environment: str, job: str) -> str:
    """The FIFO queue of what the job's workers could not handle."""
    return _fitted(f"rollcall-{environment}-{job}-dead-letter", LONGEST_QUEUE_NAME - len(FIFO)) + FIFO


def _fitted(name: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: longest - 9]}-{mark}"
