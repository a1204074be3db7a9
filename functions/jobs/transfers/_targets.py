"""The bank, and the tables of transfers and of its answers."""

from datetime import timedelta

from rollcall import Keys, Rate, Table, Target

#: It keeps an idempotency key for a day; the window stays well below.
BANK = Target(
    "bank",
    concurrency=50,
    timeout=timedelta(seconds=10),
    rate=Rate.per_second(20, burst=20),
    keys=Keys(window=timedelta(hours=20)),
    settles_within=timedelta(minutes=5),
)

#: A transfer of a series, named `<series>-<yyyy-mm-dd>` after the day on which it is due.
TRANSFERS = Table("transfers", key="id", indexes=(("by-state", "state", "due"),))
#: What the bank said of a transfer, under the transfer's own id.
PROVIDER_STATUS = Table("provider-status", key="transfer")
