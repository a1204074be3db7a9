"""A donation, its states, and the records that one call writes."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, Field

from functions.jobs.donations._targets import DONATION_AUDIT, DONATIONS
from rollcall import Call, ConditionFailed, Items, TryAgain

#: Time until a donation that could not be charged is due again.
AGAIN_AFTER = timedelta(hours=24)
#: Longest recorded answer, in characters.
LONGEST_KEPT = 2_000


class State(StrEnum):
    """The state of a donation; the last two are final."""

    DUE = "due"
    PAID = "paid"
    DECLINED = "declined"


class Donation(BaseModel):
    """One donation for one due date."""

    id: str = Field(min_length=1)
    donor: str
    to: str
    amount: str = Field(pattern=r"^\d+(\.\d+)?$")
    currency: str = Field(pattern="^[A-Z]{3}$")

    def order(self) -> dict[str, str]:
        """The payload for the payment service."""
        money = {"amount": self.amount, "currency": self.currency}
        return {"reference": self.id, "from": self.donor, "to": self.to, **money}


def due(donations: Items, moment: datetime) -> Iterator[Mapping[str, Any]]:
    """Yield pages of the donations that are due at `moment`."""
    page: dict[str, Any] = {}
    while True:
        found = donations.query(
            IndexName="by-state",
            KeyConditionExpression="#state = :due AND next_try <= :now",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":due": State.DUE.value, ":now": moment.isoformat()},
            **page,
        )
        yield from found["Items"]
        if "LastEvaluatedKey" not in found:
            return
        page = {"ExclusiveStartKey": found["LastEvaluatedKey"]}


class Record:
    """The records that one call writes; every write can be repeated."""

    def __init__(self, donation: Donation, call: Call) -> None:
        self._id = donation.id
        self._call = call
        self._donations = call.table(DONATIONS)

    def begin(self) -> bool:
        """Postpone the donation to the next day, before it is called.

        Returns True if another run has called it before. Raises ConditionFailed if it is no longer due.
        """
        run, again = self._call.run_id, self._call.scheduled_for + AGAIN_AFTER
        before = self._donations.update_item(
            Key={"id": self._id},
            UpdateExpression="SET called_by = :run, next_try = :again",
            ConditionExpression="#state = :due",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":run": run, ":again": again.isoformat(), ":due": State.DUE.value},
            ReturnValues="ALL_OLD",
        )["Attributes"]
        return "called_by" in before

    def end(self, state: State) -> None:
        """Record the final state; the first record stands."""
        try:
            self._donations.update_item(
                Key={"id": self._id},
                UpdateExpression="SET #state = :state",
                ConditionExpression="#state IN (:due, :state)",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":due": State.DUE.value, ":state": state.value},
            )
        except ConditionFailed:
            return

    def audit(self, outcome: str, answer: str) -> None:
        """Record a donation that was not charged, with the number of attempts in this run."""
        self._call.table(DONATION_AUDIT).put_item(
            Item={
                "attempt": f"{self._id}/{self._call.run_id}",
                "donation": self._id,
                "run": self._call.run_id,
                "attempts": self._call.attempt,
                "outcome": outcome,
                "answer": answer[:LONGEST_KEPT],
                "at": (self._call.scheduled_for + self._call.late_by).isoformat(),
            }
        )


def known(donation: Donation, call: Call) -> State | None:
    """Ask the payment service about a donation; return None if it does not know it.

    Raises TryAgain, and the errors of `call.http`."""
    found = call.wait(call.http.get(f"/transfers?reference={quote(donation.id, safe='')}")).json()
    if any(each["status"] == "booked" for each in found["transfers"]):
        return State.PAID
    if found["transfers"]:
        raise TryAgain(f"the payment service has not decided about {donation.id} yet: {json.dumps(found)[:200]}")
    return State.DECLINED if found.get("refused") else None
