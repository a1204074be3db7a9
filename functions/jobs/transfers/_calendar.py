"""The due dates of recurring transfers."""

from calendar import monthrange
from collections.abc import Iterator
from datetime import date, timedelta
from enum import StrEnum
from itertools import count, takewhile

#: So far ahead there is a transfer for every day on which one will be due.
MONTHS_AHEAD = 2
_WEEK = timedelta(weeks=1)


class Interval(StrEnum):
    """The interval of a recurring transfer."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"


def in_month(year: int, months: int, day: int) -> date:
    """Return day `day` of the month that is `months` after the January of `year`.

    If the month is shorter, its last day is returned."""
    year, month = year + months // 12, months % 12 + 1
    return date(year, month, min(day, monthrange(year, month)[1]))


def months_later(moment: date, months: int, day: int) -> date:
    """The day `day` of the month that lies `months` after that of `moment`."""
    return in_month(moment.year, moment.month - 1 + months, day)


def occurrences(due: date, interval: Interval, day: int, today: date) -> Iterator[date]:
    """Return the next due days, up to two months after `today`, of a transfer due on `due`.

    A monthly one is due on `day` (1 to 31), or on the last day of a month that has no such day. A day that has
    passed is not made up for: it had its transfer two months before.
    """
    last = months_later(today, MONTHS_AHEAD, today.day)
    steps = takewhile(lambda each: each <= last, (_step(due, interval, day, number) for number in count(1)))
    return (each for each in steps if each > today)


def _step(due: date, interval: Interval, day: int, number: int) -> date:
    if interval is Interval.WEEKLY:
        return due + number * _WEEK
    return months_later(due, number, day)
