"""The tables of transfers and of verdicts; repeating a write changes and reverts nothing."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime
from typing import Any

from functions.jobs.transfers._states import CALLABLE, OPEN, TAKEN, State
from functions.jobs.transfers._targets import PROVIDER_STATUS, TRANSFERS
from functions.jobs.transfers._transfers import Transfer, Verdict
from rollcall import Call, ConditionFailed, Items

Item = Mapping[str, Any]


def due(transfers: Items, today: date) -> Iterator[Item]:
    """Yield pages of the transfers that a run may take on `today`, as the index has them."""
    for state in TAKEN:
        page: dict[str, Any] = {}
        while True:
            found = transfers.query(
                IndexName="by-state",
                KeyConditionExpression="#state = :state AND #due <= :today",
                ExpressionAttributeNames={"#state": "state", "#due": "due"},
                ExpressionAttributeValues={":state": state.value, ":today": today.isoformat()},
                **page,
            )
            yield from found["Items"]
            if "LastEvaluatedKey" not in found:
                break
            page = {"ExclusiveStartKey": found["LastEvaluatedKey"]}


def take(transfers: Items, seen: Item, run: str) -> Item | None:
    """Mark a transfer IN_FLY in `run`, and return it; None if its state differs from the index.

    What this run has marked already, before it was begun anew, it takes again.
    """
    return _changed(
        transfers,
        str(seen["id"]),
        "SET #state = :in_fly, #run = :run",
        "#state = :seen OR (#state = :in_fly AND #run = :run)",
        {":in_fly": State.IN_FLY.value, ":seen": seen["state"], ":run": run},
    )


class Records:
    """The records that one call writes about its transfer."""

    def __init__(self, transfer: Transfer, call: Call) -> None:
        self._transfer = transfer
        self._transfers = call.table(TRANSFERS)
        self._verdicts = call.table(PROVIDER_STATUS)
        self._run = call.run_id
        self._today = call.scheduled_for.date()
        self._now = call.scheduled_for + call.late_by

    @property
    def now(self) -> datetime:
        return self._now

    def begin(self, called_by: str | None = None) -> Item:
        """Mark it PROCESSING, called by this run, and return how it was before.

        Raises ConditionFailed where that is not for this run to do: it is finished, gone, or was called by
        another run; `called_by` names that run once the bank was asked about its call.
        """
        states, values = _any_of(CALLABLE)
        done = self._transfers.update_item(
            Key={"id": self._transfer.id},
            ReturnValues="ALL_OLD",
            **_expressions(
                "SET #state = :processing, #called_by = :run, #called_at = :now",
                f"#state IN ({states}) AND (attribute_not_exists(#called_by) OR #called_by IN (:run, :other))",
                values
                | {":processing": State.PROCESSING.value, ":run": self._run, ":now": self._now.isoformat()}
                | {":other": self._run if called_by is None else called_by},
            ),
        )
        old: Item = done["Attributes"]
        return old

    def put_off(self, state: State) -> None:
        """RETRY or FAILED, after a call that the bank did not take; nothing where it is finished or failed by now."""
        states, values = _any_of(OPEN)
        _changed(
            self._transfers,
            self._transfer.id,
            "SET #state = :put_off",
            f"#state IN ({states})",
            values | {":put_off": state.value},
        )

    def never_arrived(self) -> None:
        """RETRY, for a call that the bank knows nothing of."""
        _changed(
            self._transfers,
            self._transfer.id,
            "SET #state = :retry",
            "#state = :processing",
            {":retry": State.RETRY.value, ":processing": State.PROCESSING.value},
        )

    def verdict(self) -> Verdict | None:
        """The bank's, if it is kept."""
        found = self._verdicts.get_item(Key={"transfer": self._transfer.id}, ConsistentRead=True)
        return Verdict.of(found["Item"]) if "Item" in found else None

    def finish(self, verdict: Verdict) -> None:
        """Keep the bank's first verdict and create what follows; then FINISHED, which so means that all is done."""
        _put_once(self._verdicts, verdict.item(self._transfer.id, self._run), "transfer")
        for each in self._transfer.following(self._today):
            _put_once(self._transfers, each.item(State.PENDING), "id")
        _changed(
            self._transfers,
            self._transfer.id,
            "SET #state = :finished",
            "attribute_exists(#id)",
            {":finished": State.FINISHED.value},
        )


def _put_once(items: Items, item: dict[str, Any], key: str) -> None:
    with suppress(ConditionFailed):
        items.put_item(
            Item=item, ConditionExpression="attribute_not_exists(#key)", ExpressionAttributeNames={"#key": key}
        )


def _changed(transfers: Items, id_: str, update: str, condition: str, values: dict[str, Any]) -> Item | None:
    """The item after the update; None where the condition does not hold."""
    expressions = _expressions(update, condition, values)
    try:
        done = transfers.update_item(Key={"id": id_}, ReturnValues="ALL_NEW", **expressions)
    except ConditionFailed:
        return None
    new: Item = done["Attributes"]
    return new


def _expressions(update: str, condition: str, values: dict[str, Any]) -> dict[str, Any]:
    """Every attribute stands as #name in them, for some names are reserved words."""
    return {
        "UpdateExpression": update,
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {f"#{name}": name for name in re.findall(r"#(\w+)", f"{update} {condition}")},
        "ExpressionAttributeValues": values,
    }


def _any_of(states: tuple[State, ...]) -> tuple[str, dict[str, str]]:
    """The placeholders of states, for `IN`, and their values."""
    values = {f":{state.value.lower()}": state.value for state in states}
    return ", ".join(values), values
