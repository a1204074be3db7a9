"""The lines and calls shared by the jobs for paid and unpaid client bills."""

from decimal import Decimal
from urllib.parse import quote

from pydantic import BaseModel, Field

from rollcall import Call


class ClientBill(BaseModel):
    """A line of either report, which is also the payload."""

    bill_id: str = Field(alias="Bill_ID")
    client: str = Field(alias="Client")
    balance: Decimal = Field(alias="Balance")


async def update_bill(bill: ClientBill, status: str, call: Call) -> None:
    """Write `status` of one bill to the accounting service."""
    body = {"status": status, "client": bill.client, "balance": str(bill.balance)}
    await call.http.put(f"/client-bills/{quote(bill.bill_id, safe='')}/status", json=body)


def example_bill(n: int) -> dict[str, object]:
    """Return the n-th line of a stand-in for either report."""
    return {"Bill_ID": f"BILL-{n:06}", "Client": f"Client {n % 997}", "Balance": f"{n % 5_000}.00"}
