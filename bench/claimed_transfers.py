"""Recurring transfers at a bank that takes no idempotency keys: the same callback and probe, behind claims."""

from dataclasses import replace
from datetime import timedelta

from functions.jobs.transfers._targets import BANK, PROVIDER_STATUS, TRANSFERS
from functions.jobs.transfers.execute_transfers import due_transfers, example, execute, look_up
from rollcall import Job, Retry, daily

#: Each of its calls has a process of its own on the local cloud.
CALLS_AT_ONCE = 6

job = Job(
    "claim-transfers",
    schedule=daily("05:00", timezone="UTC"),
    target=replace(
        BANK, keys=None, concurrency=CALLS_AT_ONCE, timeout=timedelta(seconds=2), settles_within=timedelta(seconds=10)
    ),
    concurrency=CALLS_AT_ONCE,
    needs=[TRANSFERS, PROVIDER_STATUS],
    retry=Retry(retries=3, first=timedelta(seconds=2), factor=2),
    moves_money=True,
)

job.source(due_transfers)
job.callback(execute)
job.probe(look_up)
job.example(example)
