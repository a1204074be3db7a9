"""Takes no report of fewer than three things."""

from rollcall import AtLeast
from tests.end_to_end.jobs._little import little_job

job = little_job("demanding", expect=AtLeast(3), concurrency=2)
