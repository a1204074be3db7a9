"""The bank, the tables of transfers and of its answers, and where old ones go."""

from datetime import timedelta

from rollcall import Bucket, Keys, Rate, Table, Target

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

#: Who archives calls nobody but these tables and the bucket, and can be repeated at any time.
TABLES = Target(
    "transfer-tables", concurrency=1, timeout=timedelta(minutes=5), keys=Keys(timedelta(days=30)), http=False
)
#: CSV files of what was in the tables.
ARCHIVE = Bucket("transfer-archive", writes=True)
#: When the last backup was, under the job's name.
BACKUPS = Table("transfer-backups", key="job")
