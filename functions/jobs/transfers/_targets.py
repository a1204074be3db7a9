"""The bank, the tables of transfers and of its answers, and the bucket of the archive."""

from datetime import timedelta

from rollcall import Bucket, Keys, Rate, Table, Target

#: The bank keeps an idempotency key for a day; the window stays well below.
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
#: The bank's verdict on each transfer, under the transfer's id.
PROVIDER_STATUS = Table("provider-status", key="transfer")

#: The archive job calls only these tables and the bucket, and can be repeated at any time.
TABLES = Target(
    "transfer-tables", concurrency=1, timeout=timedelta(minutes=5), keys=Keys(timedelta(days=30)), http=False
)
#: CSV files with rows moved out of the tables.
ARCHIVE = Bucket("transfer-archive", writes=True)
#: When the last backup was, under the job's name.
BACKUPS = Table("transfer-backups", key="job")
