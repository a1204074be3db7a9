"""Send every donor of the day the receipt for the donation."""

from collections.abc import Iterator

from pydantic import BaseModel

from rollcall import Call, Entry, Job, Report, Run, Target, daily

DONATIONS = Report("donations", array="donations")
RECEIPTS = Target("receipts", concurrency=10)

job = Job("donation-receipts", schedule=daily("06:00", timezone="UTC"), target=RECEIPTS, needs=[DONATIONS])


class Donation(BaseModel):
    id: str
    donor: str
    cents: int


@job.source
def donations(run: Run) -> Iterator[Entry]:
    for record in run.read(DONATIONS):
        yield Entry.of(record, key="id")


@job.callback
def send_receipt(donation: Donation, call: Call) -> None:
    receipt = {"to": donation.donor, "cents": donation.cents, "date": f"{call.scheduled_for:%Y-%m-%d}"}
    call.wait(call.http.post("/receipts", json=receipt))


@job.example
def example(n: int) -> dict[str, object]:
    return {"id": f"donation-{n}", "donor": f"donor-{n}@example.org", "cents": 500 + n}
