"""Its runs may overlap."""

from rollcall import Overlap
from tests.end_to_end.jobs._little import little_job

job = little_job("side-by-side", overlap=Overlap.ALLOW)
