"""A run that is due while another one is not finished is skipped."""

from rollcall import Overlap
from tests.end_to_end.jobs._little import little_job

job = little_job("skipping", overlap=Overlap.SKIP, concurrency=2)
