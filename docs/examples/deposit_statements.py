"""Ask the accounting service for a statement of every client deposit, once a month."""

from collections.abc import Iterator
from urllib.parse import quote

from pydantic import BaseModel, Field

from functions.jobs.accounting._targets import ACCOUNTING, CLIENT_DEPOSITS
from rollcall import Call, Entry, Job, Run, monthly

job = Job("deposit-statements", schedule=monthly(1, "06:00"), target=ACCOUNTING, needs=[CLIENT_DEPOSITS])


class Deposit(BaseModel):
    id: str = Field(alias="Deposit_ID")
    client: str = Field(alias="Client")


@job.source
def deposits(run: Run) -> Iterator[Entry]:
    for record in run.read(CLIENT_DEPOSITS):
        yield Entry.of(record, key="Deposit_ID")


@job.callback
def order_statement(deposit: Deposit, call: Call) -> None:
    order = {"client": deposit.client, "month": f"{call.scheduled_for:%Y-%m}"}
    call.wait(call.http.post(f"/client-deposits/{quote(deposit.id, safe='')}/statements", json=order))


@job.example
def example(n: int) -> dict[str, object]:
    return {"Deposit_ID": f"DEP-{n:07}", "Client": f"Client {n % 997}"}
