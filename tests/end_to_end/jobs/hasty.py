"""Never calls anybody a second time, unless a worker died."""

from rollcall import Overlap, Retry
from tests.end_to_end.jobs._little import little_job

job = little_job("hasty", retry=Retry(retries=0), overlap=Overlap.ALLOW)
