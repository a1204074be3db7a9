"""Report unpaid client bills to the accounting service, half an hour after the paid ones."""

from collections.abc import Iterator

from functions.jobs.accounting._client_bills import ClientBill, example_bill, update_bill
from functions.jobs.accounting._targets import ACCOUNTING, UNPAID_CLIENT_BILLS
from rollcall import Call, Entry, Job, Run, daily

job = Job(
    "client-bill-unpaid-status",
    schedule=daily("04:30", timezone="UTC"),
    target=ACCOUNTING,
    concurrency=10,
    needs=[UNPAID_CLIENT_BILLS],
)


@job.source
def unpaid_bills(run: Run) -> Iterator[Entry]:
    for record in run.read(UNPAID_CLIENT_BILLS):
        yield Entry.of(record, key="Bill_ID")


@job.callback
async def bill_is_unpaid(bill: ClientBill, call: Call) -> None:
    await update_bill(bill, "unpaid", call)


job.example(example_bill)
