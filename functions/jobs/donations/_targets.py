"""The payment service, and the tables of donations and of failed charges."""

from datetime import timedelta

from rollcall import Breaker, Keys, Table, Target

#: The payment service keeps an idempotency key for a day; the window stays well below.
PAYMENTS = Target(
    "payments",
    concurrency=50,
    timeout=timedelta(seconds=10),
    breaker=Breaker(failures=10, pause=timedelta(minutes=1)),
    keys=Keys(window=timedelta(hours=20)),
    settles_within=timedelta(minutes=5),
)

#: A donation for one due date, named `<promise>-<yyyy-mm-dd>`: that name is its idempotency key for ever.
DONATIONS = Table("donations", key="id", indexes=(("by-state", "state", "next_try"),))
#: Every donation that a run could not charge, under `<donation>/<run>`.
DONATION_AUDIT = Table("donation-audit", key="attempt")
