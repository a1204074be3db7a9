"""Entry point for the ledger's stream: records of runs that became terminal."""

import logging
from typing import Any

from functions._announcing import AnnouncingRuntime
from functions._runtime import Context, Event, guarded
from rollcall.adapters.clients import AWS_ERRORS, words_of
from rollcall.core.actions import Action, log
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunState

runtime = AnnouncingRuntime()


@guarded
def handler(event: Event, context: Context) -> dict[str, Any]:
    """Announce ended runs; return the first record to redeliver.

    The stream redelivers that record and all after it.
    """
    del context
    announcer = runtime.announcer
    for record in event["Records"]:
        run = ended_run(record)
        try:
            if run is not None:
                announcer.announce(run)
        except (*AWS_ERRORS, RollcallError) as error:
            log(Action.RUN_NOT_ANNOUNCED, logging.ERROR, run=run, reason=words_of(error))
            return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
    return {"batchItemFailures": []}


def ended_run(record: Event) -> str | None:
    """Return the run that became terminal with this change of the ledger, or None."""
    new, old = record["dynamodb"].get("NewImage", {}), record["dynamodb"].get("OldImage", {})
    if "run" not in new or not _terminal(new) or _terminal(old):
        return None
    return str(new["run"]["S"])


def _terminal(image: Event) -> bool:
    return "state" in image and RunState(image["state"]["S"]).terminal
