"""EventBridge: keeps what was put."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.simulation.models.refusals import invalid

#: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
MOST_ENTRIES = 10


class Events:
    """The service; every bus is there."""

    exceptions = None

    def __init__(self) -> None:
        #: The details of all events, in order.
        self.details: list[dict[str, Any]] = []

    def create_event_bus(self, *, Name: str) -> dict[str, Any]:  # noqa: N803
        return {"EventBusArn": Name}

    def put_events(self, *, Entries: Sequence[Mapping[str, str]]) -> dict[str, Any]:  # noqa: N803
        if len(Entries) > MOST_ENTRIES:
            raise invalid("PutEvents", f"an event bus takes at most {MOST_ENTRIES} entries at once")
        entries = [self._put(entry) for entry in Entries]
        return {"FailedEntryCount": sum("ErrorCode" in entry for entry in entries), "Entries": entries}

    def _put(self, entry: Mapping[str, str]) -> dict[str, str]:
        try:
            detail = json.loads(entry["Detail"])
        except ValueError:
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        self.details.append(detail)
        return {"EventId": f"event-{len(self.details)}"}
