"""Expectations: a report that is too short or too long to be true calls nobody."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.core.errors import DeclarationError
from rollcall.core.expect import MOST_ENTRIES, AtLeast, AtMost, Expect, ShareOfLast
from tests.unit.jobs import job


@pytest.mark.parametrize("total", [7_000, 7_001, 1_000_000])
def test_a_report_of_at_least_the_expected_length_passes(total: int) -> None:
    assert AtLeast(7_000).objection(total, None) is None


def test_a_report_that_is_one_entry_short_is_objected_to() -> None:
    assert AtLeast(7_000).objection(6_999, 9_000) == "the report has 6,999 entries; the job expects at least 7,000"


def test_no_report_is_shorter_than_nothing() -> None:
    assert AtLeast(0).objection(0, None) is None


def test_a_share_of_the_last_run_is_expected() -> None:
    objection = ShareOfLast(0.5).objection(3_999, 8_000)
    assert objection == "the report has 3,999 entries; the job expects at least 50% of the last run's 8,000"


@given(st.integers(1, 100), st.integers(0, 10**6), st.integers(0, 10**6))
def test_exactly_the_expected_share_passes_and_one_entry_less_does_not(percent: int, total: int, last: int) -> None:
    passes = ShareOfLast(percent / 100).objection(total, last) is None
    assert passes is (total >= Fraction(percent, 100) * last)


def test_55_percent_of_100_are_55() -> None:
    assert ShareOfLast(0.55).objection(55, 100) is None


@pytest.mark.parametrize("last_total", [None, 0])
def test_the_first_run_and_the_one_after_an_empty_one_pass(last_total: int | None) -> None:
    assert ShareOfLast(1).objection(0, last_total) is None


def test_fewer_than_no_entries_cannot_be_expected() -> None:
    with pytest.raises(DeclarationError, match="fewer than no entries"):
        AtLeast(-1)


@pytest.mark.parametrize("share", [0, -0.5, 1.01, 50, float("nan")])
def test_a_share_lies_between_nothing_and_all(share: float) -> None:
    with pytest.raises(DeclarationError, match="take a share between 0 and 1"):
        ShareOfLast(share)


@pytest.mark.parametrize("expect", [AtLeast(1, at_most=20), AtMost(20), ShareOfLast(0.5, at_most=20)])
def test_a_job_takes_no_more_entries_than_it_expects(expect: Expect) -> None:
    assert job(expect=expect).most_entries == 20


def test_a_job_that_expects_no_number_of_entries_takes_five_times_the_largest_run_that_is_measured() -> None:
    assert job().most_entries == job(expect=AtLeast(1)).most_entries == MOST_ENTRIES == 5 * 1_000_000


def test_at_most_some_entries_may_be_none() -> None:
    expect: Expect = AtMost(20)
    assert expect.objection(0, 1_000) is None


@pytest.mark.parametrize(
    "declare",
    [
        lambda: AtLeast(9, at_most=8),
        lambda: AtLeast(0, at_most=0),
        lambda: AtMost(0),
        lambda: ShareOfLast(1, at_most=0),
    ],
    ids=["fewer than the least", "none", "at most none", "a share and none"],
)
def test_no_report_can_be_expected_that_cannot_be(declare: Callable[[], Expect]) -> None:
    with pytest.raises(DeclarationError, match=r"no report has so many|1 entry or more"):
        declare()
