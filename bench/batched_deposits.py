"""The main job's source and callback, delivered in batches of fifty, without a pause, so that only they differ."""

from datetime import timedelta

from functions.jobs.accounting._targets import ACCOUNTING, CLIENT_DEPOSITS
from functions.jobs.accounting.client_deposit_update import client_deposits, example, update_deposit
from rollcall import Batches, Job, daily

job = Job(
    "batched-deposits",
    schedule=daily("02:30", timezone="UTC"),
    target=ACCOUNTING,
    concurrency=50,
    needs=[CLIENT_DEPOSITS],
    delivery=Batches(size=50, at_once=1, pause=timedelta(0)),
)

job.source(client_deposits)
job.callback(update_deposit)
job.example(example)
