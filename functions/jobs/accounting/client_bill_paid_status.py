"""Report paid client bills to the accounting service."""

from collections.abc import Iterator

from functions.jobs.accounting._client_bills import ClientBill, example_bill, update_bill
from functions.jobs.accounting._targets import ACCOUNTING, PAID_CLIENT_BILLS
from rollcall import Call, Entry, Job, Run, daily

job = Job(
    "client-bill-paid-status",
    schedule=daily("04:00", timezone="UTC"),
    target=ACCOUNTING,
    concurrency=10,
    needs=[PAID_CLIENT_BILLS],
)


@job.source
def paid_bills(run: Run) -> Iterator[Entry]:
    for record in run.read(PAID_CLIENT_BILLS):
        yield Entry.of(record, key="Bill_ID")


@job.callback
async def bill_is_paid(bill: ClientBill, call: Call) -> None:
    await update_bill(bill, "paid", call)


job.example(example_bill)
