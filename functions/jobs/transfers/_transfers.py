"""A transfer, and the bank's verdict about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import BaseModel, Field

from functions.jobs.transfers._calendar import Interval, occurrences
from functions.jobs.transfers._states import State
from rollcall import Outcome

#: Of an answer, in characters; an item holds 400 KB.
LONGEST_KEPT = 4_000


class Transfer(BaseModel):
    """A transfer due on one day, without its state, which changes during a run."""

    id: str = Field(min_length=1)
    series: str = Field(min_length=1)
    due: date
    interval: Interval
    #: The day of the month that a monthly one was set up for; kept over shorter months.
    day: int = Field(ge=1, le=31)
    from_: str = Field(alias="from")
    to: str
    amount: str = Field(pattern=r"^\d+(\.\d+)?$")
    currency: str = Field(pattern="^[A-Z]{3}$")

    def order(self) -> dict[str, str]:
        """The payload for the bank."""
        return {
            "reference": self.id,
            "from": self.from_,
            "to": self.to,
            "amount": self.amount,
            "currency": self.currency,
        }

    def item(self, state: State) -> dict[str, Any]:
        """As the table keeps it."""
        return self.model_dump(mode="json", by_alias=True) | {"state": state.value}

    def following(self, today: date) -> list["Transfer"]:
        """The transfers of its series for the coming two months."""
        days = occurrences(self.due, self.interval, self.day, today)
        return [self.model_copy(update={"id": f"{self.series}-{day}", "due": day}) for day in days]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The bank's final verdict on a transfer."""

    booked: bool
    #: The bank's answer, unchanged.
    answer: str

    @property
    def outcome(self) -> Outcome:
        return Outcome.SUCCEEDED if self.booked else Outcome.REJECTED

    def item(self, transfer: str, run: str) -> dict[str, str]:
        """As the table keeps it."""
        status = "booked" if self.booked else "refused"
        return {"transfer": transfer, "status": status, "answer": self.answer[:LONGEST_KEPT], "run": run}

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "Verdict":
        return cls(item["status"] == "booked", item["answer"])
