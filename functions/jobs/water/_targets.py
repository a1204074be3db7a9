"""The licensing service, and the bucket with the national list of licences."""

from datetime import timedelta

from rollcall import Bucket, Keys, Target

#: The licensing service keeps an idempotency key for a day; the window stays well below.
LICENSING = Target("licensing", concurrency=50, timeout=timedelta(seconds=10), keys=Keys(window=timedelta(hours=20)))

#: The list itself, what an import makes of it, and the documents of licences.
NALD = Bucket("nald", writes=True, deletes=True)
