"""The two questions to the bank."""

import json
from typing import Any
from urllib.parse import quote

from functions.jobs.transfers._transfers import Transfer, Verdict
from rollcall import Call, TryAgain


def pay(transfer: Transfer, call: Call) -> Verdict:
    """Have it transferred. Raises what `call.http` raises."""
    return Verdict(True, call.wait(call.http.post("/transfers", json=transfer.order())).text)


def ask(transfer: Transfer, call: Call) -> Verdict | None:
    """Ask the bank about the transfer; return None if the bank does not know it.

    Raises TryAgain, and the errors of `call.http`."""
    answer: dict[str, Any] = call.wait(call.http.get(f"/transfers?reference={quote(transfer.id, safe='')}")).json()
    known = answer["transfers"]
    booked = [each for each in known if each["status"] == "booked"]
    if known and not booked:
        raise TryAgain(f"the bank has not decided about {transfer.id} yet")
    for found in (booked, answer.get("refused", [])):
        if found:
            return Verdict(bool(booked), json.dumps(found[0]))
    return None
