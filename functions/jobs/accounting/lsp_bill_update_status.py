"""Report the status of every LSP (local service provider) bill to the accounting service."""

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from pydantic import BaseModel

from functions.jobs.accounting._targets import ACCOUNTING, LSP_BILLS
from rollcall import Call, Entry, Job, Run, daily

job = Job(
    "lsp-bill-update-status",
    schedule=daily("03:30", timezone="UTC"),
    target=ACCOUNTING,
    concurrency=10,
    needs=[LSP_BILLS],
)


class BillStatus(BaseModel):
    """The payload that the accounting service accepts for a bill."""

    bill: str
    provider: str
    paid: bool


@job.source
def bills(run: Run) -> Iterator[Entry]:
    for record in run.read(LSP_BILLS):
        yield Entry(record.get("Bill_Number"), status_of(record))


def status_of(record: Mapping[str, object]) -> dict[str, object]:
    """Build the payload of a line of the report."""
    return {
        "bill": record.get("Bill_Number"),
        "provider": record.get("Provider"),
        "paid": record.get("Payment_Status") == "Paid",
    }


@job.callback
async def update_status(status: BillStatus, call: Call) -> None:
    await call.http.put(f"/lsp-bills/{quote(status.bill, safe='')}/status", json=status.model_dump())


@job.example
def example(n: int) -> dict[str, object]:
    return {
        "Bill_Number": f"LSP-{n:06}",
        "Provider": f"Provider {n % 131}",
        "Payment_Status": "Paid" if n % 3 else "Unpaid",
    }
