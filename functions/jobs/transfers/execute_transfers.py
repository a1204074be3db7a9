"""Have the bank execute the recurring transfers that are due, each exactly once.

The states of a transfer, and who leads it where:

    PENDING, RETRY, IN_FLY ── the source takes it ──► IN_FLY (run)
    all but FINISHED ── the callback, before the bank is called ──► PROCESSING (called_by, called_at)
    PROCESSING ── booked, or refused ──► FINISHED
    PROCESSING ── the bank is down, or turns us away ──► RETRY, and FAILED after the last attempt
    PROCESSING ── no answer ──► PROCESSING: it may have been paid
    PROCESSING ── the probe: nothing of it at the bank ──► RETRY
    any ── the probe: booked, or refused ──► FINISHED

FINISHED is never left, and comes last: then the bank's verdict is in provider-status, and the transfers of the coming
two months are there. So whoever dies before is followed by one who does the same again: the bank answers a known key
as before, and nothing that is written once is written over.

No run takes PROCESSING (it may have been paid) or FAILED; the entry's probe and redrives go on with those. A
transfer that another run has called is asked about before it is called again, for the key's window may be over:
so RETRY is safe to take, whatever became of its last call.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from functions.jobs.transfers import _bank
from functions.jobs.transfers._calendar import Interval, in_month
from functions.jobs.transfers._records import Records, due, take
from functions.jobs.transfers._states import CALLABLE, Meaning, State, meaning
from functions.jobs.transfers._targets import BANK, PROVIDER_STATUS, TRANSFERS
from functions.jobs.transfers._transfers import Transfer, Verdict
from rollcall import (
    NEVER_ARRIVED,
    Call,
    ConditionFailed,
    Entry,
    HttpError,
    Job,
    NeverArrived,
    NotSent,
    Outcome,
    Rejected,
    Retry,
    Run,
    TryAgain,
    Unanswered,
    daily,
)

job = Job(
    "execute-transfers",
    schedule=daily("05:00", timezone="UTC"),
    target=BANK,
    concurrency=50,
    needs=[TRANSFERS, PROVIDER_STATUS],
    retry=Retry(retries=3, first=timedelta(seconds=2), factor=2),
    deadline=timedelta(hours=4),
    moves_money=True,
)


@job.source
def due_transfers(run: Run) -> Iterator[Entry]:
    transfers = run.table(TRANSFERS)
    for seen in due(transfers, run.scheduled_for.date()):
        taken = take(transfers, seen, run.id)
        if taken is not None:
            yield Entry(taken["id"], taken, idempotency_key=taken["id"])


# Plain functions, for which the engine has threads: the tables' methods block, and a batch's other calls must go on.


@job.callback
def execute(transfer: Transfer, call: Call) -> Outcome:
    """Have the bank pay the transfer, unless the bank's verdict is known."""
    records = Records(transfer, call)
    try:
        verdict = _known(transfer, records, call) or _bank.pay(transfer, call)
    except (NotSent, TryAgain):
        records.put_off(State.FAILED if call.last_attempt else State.RETRY)
        raise
    except HttpError as error:
        _not_paid(error, records, call)
        raise
    _finish(records, verdict)
    if not verdict.booked:
        raise Rejected(f"the bank refused it before: {verdict.answer}")
    return Outcome.SUCCEEDED


@job.probe
def look_up(transfer: Transfer, call: Call) -> Outcome | NeverArrived:
    """Ask for the result of an unanswered call, and record it like an answer."""
    records = Records(transfer, call)
    verdict = records.verdict() or _bank.ask(transfer, call)
    if verdict is None:
        records.never_arrived()
        return NEVER_ARRIVED
    records.finish(verdict)
    return Outcome.SUCCEEDED if verdict.booked else Outcome.REJECTED


def _known(transfer: Transfer, records: Records, call: Call) -> Verdict | None:
    """Return the bank's verdict if there is one; else mark the transfer, and return None."""
    try:
        before = records.begin()
    except ConditionFailed as failed:
        return _of_others(transfer, records, call, failed)
    return records.verdict() if "called_by" in before else None


def _of_others(transfer: Transfer, records: Records, call: Call, failed: ConditionFailed) -> Verdict | None:
    """The same for a transfer that is finished, or that another run has called."""
    verdict = records.verdict()
    if verdict is not None:
        return verdict
    state = failed.old.get("state", "gone")
    if state not in CALLABLE:
        raise Rejected(f"it is {state}, and not to be paid")
    verdict = _bank.ask(transfer, call)
    if verdict is not None:
        return verdict
    settled = datetime.fromisoformat(failed.old["called_at"]) + BANK.settles_within
    if records.now < settled:
        raise TryAgain("another run has called it, and the call may still show", after=settled - records.now)
    records.begin(called_by=failed.old["called_by"])
    return None


def _not_paid(error: HttpError, records: Records, call: Call) -> None:
    match meaning(error.status):
        case Meaning.REFUSED:
            _finish(records, Verdict(booked=False, answer=error.body))
        case Meaning.DOWN:
            records.put_off(State.FAILED if call.last_attempt else State.RETRY)
        case Meaning.UNDER_WAY:
            raise Unanswered("the bank is still at an earlier call") from error


def _finish(records: Records, verdict: Verdict) -> None:
    """Whatever keeps the verdict from being written down makes it one that never came: it will be asked for again."""
    try:
        records.finish(verdict)
    except Exception as error:
        raise Unanswered(f"the bank's answer is lost, for it could not be kept: {error}") from error


@job.example
def example(n: int) -> dict[str, object]:
    """An item of `transfers`, due in January 2025."""
    series, day = f"RT-{n:07}", 1 + n % 31
    found = Transfer.model_validate(
        {
            "id": f"{series}-2025-01-{day:02}",
            "series": series,
            "due": in_month(2025, 0, day),
            "interval": Interval.MONTHLY if n % 4 else Interval.WEEKLY,
            "day": day,
            "from": f"GB{n % 89:02}ROLL{n:08}",
            "to": f"GB{n % 83:02}BANK{n % 997:08}",
            "amount": f"{5 + n % 900}.{n % 100:02}",
            "currency": "GBP",
        }
    )
    return found.item(State.PENDING)
