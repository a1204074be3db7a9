"""Charge the due donations, fifty at a time with a second between, each exactly once.

A donation is `due` until it is `paid` or `declined`. Before a call it is put off to the next day: so whatever becomes
of the call, the run of 24 hours later tries again what is still due, and asks the payment service first, which by then
may have forgotten the key. Within a run the key protects: it is the donation's own, the same over retries, runs and
redrives. A declined card is a rejection and not tried again. See docs/batches.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from functions.jobs.donations._donations import Donation, Record, State, due, known
from functions.jobs.donations._targets import DONATION_AUDIT, DONATIONS, PAYMENTS
from rollcall import (
    NEVER_ARRIVED,
    Batches,
    Call,
    ConditionFailed,
    Entry,
    HttpError,
    Jitter,
    Job,
    NeverArrived,
    NotSent,
    Outcome,
    Retry,
    Run,
    TryAgain,
    Unanswered,
    every,
)

#: The payment service declines the donation itself: no money, no such card.
DECLINES = frozenset({402, 422})
#: About the caller or an earlier call, and not about the donation: the engine decides.
NOT_ABOUT_IT = frozenset({401, 403, 409})
#: In the audit trail.
NAMES = {NotSent: "not_sent", Unanswered: "unanswered", TryAgain: "undecided"}

job = Job(
    "scheduled-donations",
    schedule=every(hours=1, at="00:00"),
    target=PAYMENTS,
    concurrency=50,
    needs=[DONATIONS, DONATION_AUDIT],
    delivery=Batches(size=50, at_once=1, pause=timedelta(seconds=1), most_entries=20_000),
    retry=Retry(retries=3, first=timedelta(seconds=2), factor=2, jitter=Jitter.NONE),
    deadline=timedelta(minutes=55),
    moves_money=True,
)


@job.source
def due_donations(run: Run) -> Iterator[Entry]:
    """All that are due; of a run by hand with `--param donor=…`, that donor's."""
    donor = run.params.get("donor")
    for found in due(run.table(DONATIONS), run.scheduled_for):
        if donor in (None, found["donor"]):
            fields = {name: found[name] for name in Donation.model_fields}
            yield Entry(found["id"], fields, idempotency_key=found["id"])


@job.callback
def charge(donation: Donation, call: Call) -> Outcome:
    record = Record(donation, call)
    try:
        called_before = record.begin()
    except ConditionFailed as failed:
        return Outcome.SUCCEEDED if failed.old.get("state") == State.PAID else Outcome.REJECTED
    # One that was called before, in this run or a day ago, may have been paid.
    with _audited(record, call):
        state = known(donation, call) if called_before else None
    if state is not None:
        return _ended(record, state, "as the payment service remembers")
    with _audited(record, call):
        try:
            call.wait(call.http.post("/transfers", json=donation.order()))
        except HttpError as error:
            if error.status in DECLINES:
                record.end(State.DECLINED)
            raise
    return _ended(record, State.PAID, "")


@job.probe
def ask(donation: Donation, call: Call) -> Outcome | NeverArrived:
    state = known(donation, call)
    if state is None:
        return NEVER_ARRIVED
    record = Record(donation, call)
    if state is State.PAID:
        record.audit(state.value, "found by asking")  # in place of the attempt without an answer
    return _ended(record, state, "found by asking")


@contextmanager
def _audited(record: Record, call: Call) -> Iterator[None]:
    """Note what is raised within it, where nothing is tried again."""
    try:
        yield
    except HttpError as error:
        if call.last_attempt or error.status not in PAYMENTS.retried | NOT_ABOUT_IT:
            record.audit(f"http_{error.status}", error.body)
        raise
    except (NotSent, Unanswered, TryAgain) as error:
        if call.last_attempt:
            record.audit(NAMES[type(error)], str(error))
        raise


def _ended(record: Record, state: State, answer: str) -> Outcome:
    record.end(state)
    if state is State.PAID:
        return Outcome.SUCCEEDED
    record.audit(state.value, answer)
    return Outcome.REJECTED


@job.example
def example(n: int) -> dict[str, object]:
    """An item of `donations`, due in January 2025."""
    return {
        "id": f"DN-{n:07}-2025-01-{1 + n % 28:02}",
        "donor": f"donor-{n % 4_999:05}",
        "to": f"charity-{n % 97:02}",
        "amount": f"{5 + n % 120}.00",
        "currency": "GBP",
        "state": State.DUE.value,
        "next_try": f"2025-01-{1 + n % 28:02}T{n % 24:02}:00:00+00:00",
    }
