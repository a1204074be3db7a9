"""Pay what is due, at a bank that takes no idempotency keys but can be asked by our reference."""

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import quote

from rollcall import NEVER_ARRIVED, Call, Entry, Job, NeverArrived, Outcome, Report, Run, Target, daily

BANK = Target("bank", concurrency=4, keys=None, settles_within=timedelta(minutes=10))
DUE = Report("pay-outs-due")

job = Job("pay-outs", schedule=daily("06:00"), target=BANK, concurrency=4, needs=[DUE], moves_money=True)


@job.source
def due(run: Run) -> Iterator[Entry]:
    for record in run.read(DUE):
        yield Entry(record["Pay_Out_ID"], record, idempotency_key=f"pay-out-{record['Pay_Out_ID']}")


@job.callback
async def pay(pay_out: dict[str, str], call: Call) -> None:
    await call.http.post("/payments", json={**pay_out, "reference": call.idempotency_key})


@job.probe
async def find(pay_out: dict[str, str], call: Call) -> Outcome | NeverArrived:
    account, reference = quote(pay_out["account"], safe=""), quote(call.idempotency_key, safe="")
    found = await call.http.get(f"/accounts/{account}/payments?reference={reference}")
    match found.json():
        case []:
            return NEVER_ARRIVED
        case [{"status": "refused"}, *_]:
            return Outcome.REJECTED
        case _:
            return Outcome.SUCCEEDED
