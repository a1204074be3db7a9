"""The event bus that hears of every run's end."""

from typing import TYPE_CHECKING

from rollcall.core.errors import RollcallError
from rollcall.core.run import RunCompleted
from rollcall.core.values import canonical

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE = "rollcall"
DETAIL_TYPE = "RunCompleted"


class Bus:
    """An EventBridge bus."""

    def __init__(self, client: "EventBridgeClient", name: str) -> None:
        self._client = client
        self._name = name

    def announce(self, completed: RunCompleted) -> None:
        """Put the event. Raises RollcallError where the bus did not take it."""
        entry = {
            "Source": SOURCE,
            "DetailType": DETAIL_TYPE,
            "Detail": canonical(completed.detail()),
            "EventBusName": self._name,
        }
        answer = self._client.put_events(Entries=[entry])  # type: ignore[list-item]
        if answer["FailedEntryCount"]:
            codes = ", ".join(sorted({entry.get("ErrorCode", "no code") for entry in answer["Entries"]}))
            raise RollcallError(f"the bus {self._name} did not take {completed.id}: {codes}")
