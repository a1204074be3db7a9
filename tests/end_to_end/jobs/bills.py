"""Whole in one file, so that it can be copied into a clone, and changed there."""

from collections.abc import Iterator
from decimal import Decimal

from pydantic import BaseModel, Field

from rollcall import Call, Entry, Job, Report, Run, Target, monthly

BOOKS = Target("books", concurrency=100)
BILLS = Report("bills")

job = Job("bills", schedule=monthly(1, "06:00"), target=BOOKS, concurrency=50, needs=[BILLS])


class Bill(BaseModel):
    """A line of the report."""

    id: str = Field(alias="Bill_ID")
    client: str = Field(alias="Client")
    balance: Decimal = Field(alias="Balance")


@job.source
def bills(run: Run) -> Iterator[Entry]:
    for record in run.read(BILLS):
        yield Entry.of(record, key="Bill_ID")


@job.callback
async def pay(bill: Bill, call: Call) -> None:
    body = {"status": "paid", "client": bill.client, "balance": str(bill.balance)}
    await call.http.put(f"/client-bills/{bill.id}/status", json=body)


@job.example
def example(n: int) -> dict[str, object]:
    return {"Bill_ID": f"BILL-{n:06}", "Client": f"Client {n % 997}", "Balance": "7.00"}
