"""Delivered in batches of four, with a second's pause between two."""

from datetime import timedelta

from rollcall import Batches
from tests.end_to_end.jobs._little import little_job

job = little_job("batched", concurrency=4, delivery=Batches(size=4, pause=timedelta(seconds=1), most_entries=500))
