"""A run that is due while another one is not finished waits for it."""

from rollcall import Overlap
from tests.end_to_end.jobs._little import little_job

job = little_job("queueing", overlap=Overlap.QUEUE, concurrency=2)
