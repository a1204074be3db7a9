"""Report every client deposit to the accounting service."""

from collections.abc import Iterator
from decimal import Decimal
from urllib.parse import quote

from pydantic import BaseModel, Field

from functions.jobs.accounting._targets import ACCOUNTING, CLIENT_DEPOSITS
from rollcall import Call, Entry, Job, Run, daily

job = Job(
    "client-deposit-update",
    schedule=daily("02:30", timezone="UTC"),
    target=ACCOUNTING,
    concurrency=50,
    needs=[CLIENT_DEPOSITS],
)


class ClientDeposit(BaseModel):
    """A line of the report, by Workday's field names."""

    deposit_id: str = Field(alias="Deposit_ID")
    client: str = Field(alias="Client")
    amount: Decimal = Field(alias="Amount")
    currency: str = Field(alias="Currency", pattern="^[A-Z]{3}$")


@job.source
def client_deposits(run: Run) -> Iterator[Entry]:
    for record in run.read(CLIENT_DEPOSITS):
        yield Entry.of(record, key="Deposit_ID")


@job.callback
async def update_deposit(deposit: ClientDeposit, call: Call) -> None:
    body = {
        "client": deposit.client,
        "amount": str(deposit.amount),
        "currency": deposit.currency,
        "reported_on": call.scheduled_for.date().isoformat(),
    }
    await call.http.put(f"/client-deposits/{quote(deposit.deposit_id, safe='')}", json=body)


@job.example
def example(n: int) -> dict[str, object]:
    return {
        "Deposit_ID": f"DEP-{n:07}",
        "Client": f"Client {n % 997}",
        "Amount": f"{100 + n % 9_000}.50",
        "Currency": "EUR",
    }
