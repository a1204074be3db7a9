"""The names of what is deployed, by environment and job, written in one place for stacks and functions."""

import hashlib
import re

from rollcall.core.errors import DeclarationError

#: https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
LONGEST_FUNCTION_NAME = 64
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
LONGEST_QUEUE_NAME = 80
#: https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
LONGEST_SCHEDULE_NAME = 64
#: https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateStateMachine.html
LONGEST_STATE_MACHINE_NAME = 80
FIFO = ".fifo"
#: Of an environment's name: what all of these names, cut or not, leave room for.
LONGEST_ENVIRONMENT = 16


def checked_environment(name: str) -> str:
    """`name`, if an environment can have it. Raises DeclarationError otherwise.

    Without hyphens: of `dev` and `dev-eu`, the one's job `eu-pay` and the other's job `pay` would have the same names,
    and who is allowed `rollcall-dev-*` would be allowed the other's as well.
    """
    if not re.fullmatch(rf"[a-z][a-z0-9]{{0,{LONGEST_ENVIRONMENT - 1}}}", name):
        raise DeclarationError(
            f"the environment name {name!r} is not usable: take up to {LONGEST_ENVIRONMENT} characters of a-z and 0-9,"
            f" beginning with a letter, such as 'dev' or 'prodeu'"
        )
    return name


def function_name(environment: str, kind: str, job: str | None = None) -> str:
    """`rollcall-<environment>-<job>-<kind>`, as in `rollcall-dev-client-deposit-update-fan-out`."""
    parts = ["rollcall", environment, *([job] if job is not None else []), kind.replace("_", "-")]
    return _fitted("-".join(parts), LONGEST_FUNCTION_NAME)


def queue_name(environment: str, job: str) -> str:
    """The job's FIFO queue."""
    return _fitted(f"rollcall-{environment}-{job}-entries", LONGEST_QUEUE_NAME - len(FIFO)) + FIFO


def dead_letter_queue_name(environment: str, job: str) -> str:
    """The FIFO queue of what the job's workers could not handle."""
    return _fitted(f"rollcall-{environment}-{job}-dead-letter", LONGEST_QUEUE_NAME - len(FIFO)) + FIFO


def state_machine_name(environment: str, job: str) -> str:
    """The state machine of a job that is delivered in batches."""
    return _fitted(f"rollcall-{environment}-{job}-batches", LONGEST_STATE_MACHINE_NAME)


def execution_name(run: str, generation: int, repair: int = 0) -> str:
    """The execution of a run's generation: a second one of the same name is impossible.

    `repair` counts those that follow one that has ended, where entries were left.
    """
    return f"{run}-g{generation}" if repair == 0 else f"{run}-g{generation}-{repair}"


def undelivered_queue_name(environment: str, job: str | None = None) -> str:
    """The standard queue of a job's starts that were never handled; without a job, of the stream's records."""
    return _fitted(
        "-".join(["rollcall", environment, *([job] if job is not None else []), "undelivered"]), LONGEST_QUEUE_NAME
    )


def schedule_name(environment: str, job: str, number: int) -> str:
    """The EventBridge schedule of a job's expression `number`, counted from 1."""
    return _fitted(f"rollcall-{environment}-{job}-{number}", LONGEST_SCHEDULE_NAME)


def ledger_name(environment: str) -> str:
    """The ledger's table."""
    return f"rollcall-{environment}-ledger"


def table_name(environment: str, name: str) -> str:
    """The table that jobs call `name`."""
    return f"rollcall-{environment}-{name}"


def manifests_name(environment: str, account: str, region: str) -> str:
    """The bucket of manifests; bucket names are shared by all accounts of the world."""
    return f"rollcall-{environment}-manifests-{account}-{region}"


def bus_name(environment: str) -> str:
    """The event bus of announcements."""
    return f"rollcall-{environment}"


def alarm_name(environment: str, name: str, job: str | None = None) -> str:
    """An alarm over all jobs, or over one."""
    return "-".join(["rollcall", environment, *([job] if job is not None else []), name])


def alarm_topic_name(environment: str) -> str:
    """The topic to which people subscribe who want to hear of alarms."""
    return f"rollcall-{environment}-alarms"


def dashboard_name(environment: str, system: str | None = None) -> str:
    """The dashboard of all jobs, or of one system's."""
    return "-".join(["rollcall", environment, *([system] if system is not None else [])])


def secret_name(environment: str, name: str) -> str:
    """The secret that a job calls `name`: no two environments share one."""
    return f"rollcall/{environment}/{name}"


def _fitted(name: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: longest - 9]}-{mark}"
