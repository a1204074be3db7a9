"""Scheduled fan-out jobs that know when every entry has answered: the words a job file is written in."""

from rollcall.core.batches import Batches
from rollcall.core.breaker import Breaker
from rollcall.core.buckets import Objects
from rollcall.core.call import Call, Http, Response
from rollcall.core.entry import Entry
from rollcall.core.errors import (
    DeclarationError,
    HttpError,
    NotSent,
    Rejected,
    SourceError,
    TryAgain,
    Unanswered,
)
from rollcall.core.expect import AtLeast, AtMost, ShareOfLast
from rollcall.core.job import Job, Overlap
from rollcall.core.limits import Limits
from rollcall.core.outcome import NEVER_ARRIVED, NeverArrived, Outcome
from rollcall.core.pipeline import Pipeline, Skip, Task
from rollcall.core.rate import Rate
from rollcall.core.retry import Jitter, Retry
from rollcall.core.run import Run, RunCompleted
from rollcall.core.schedule import Cron, Schedule, by_hand, daily, every, monthly, weekdays, weekly
from rollcall.core.tables import ConditionFailed, Items
from rollcall.core.target import Bucket, Format, Keys, Location, Report, Secret, Table, Target

__all__ = [
    "NEVER_ARRIVED", "AtLeast", "AtMost", "Batches", "Breaker", "Bucket", "Call", "ConditionFailed", "Cron",
    "DeclarationError", "Entry", "Format", "Http", "HttpError", "Items", "Jitter", "Job", "Keys", "Limits", "Location",
    "NeverArrived", "NotSent", "Objects", "Outcome", "Overlap", "Pipeline", "Rate", "Rejected", "Report",
    "Response", "Retry", "Run", "RunCompleted", "Schedule", "Secret", "ShareOfLast", "Skip", "SourceError", "Table",
    "Target", "Task", "TryAgain", "Unanswered", "by_hand", "daily", "every", "monthly", "weekdays", "weekly",
]  # fmt: skip
