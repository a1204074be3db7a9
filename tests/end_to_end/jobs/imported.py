"""Started by the pipeline `piped` only."""

from rollcall import by_hand
from tests.end_to_end.jobs._little import little_job

job = little_job("imported", schedule=by_hand())
