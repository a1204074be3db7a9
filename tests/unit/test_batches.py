"""The declaration of batches: what an inline Map can do, and how the state machine reads."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rollcall import Batches, DeclarationError, Keys, Overlap, Retry, Target
from rollcall.core.batches import MOST_EVENTS, definition
from rollcall.core.sizing import worker_sizing
from tests.unit.jobs import TARGET, job

SECOND = timedelta(seconds=1)
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("declared", "advice"),
    [
        ({"size": 0}, "a batch has 1 to 250 entries"),
        ({"size": 251}, "a batch has 1 to 250 entries"),
        ({"at_once": 0}, "an inline Map takes 1 to 40 at a time"),
        ({"at_once": 41}, "leave delivery out: a queue has no such limit"),
        ({"pause": timedelta(seconds=-1)}, "a state machine waits whole seconds"),
        ({"pause": timedelta(milliseconds=500)}, "a state machine waits whole seconds"),
        ({"pause": timedelta(hours=2)}, "at most 1:00:00"),
        ({"most_entries": 0}, "a run has at least one"),
    ],
)
def test_what_an_inline_map_cannot_do_is_refused_with_advice(declared: dict[str, Any], advice: str) -> None:
    with pytest.raises(DeclarationError, match=advice):
        Batches(**declared)


def test_a_history_that_would_overflow_is_refused_where_the_job_is_declared() -> None:
    job(delivery=Batches(size=50, most_entries=10_000), retry=Retry(retries=3))
    with pytest.raises(DeclarationError, match=r"up to 40,000 events.*25,000; take larger batches or fewer entries"):
        job(delivery=Batches(size=50, most_entries=50_000), retry=Retry(retries=3))


def test_the_count_of_events_is_that_of_every_round() -> None:
    batches = Batches(size=50)
    assert batches.events(10_000, rounds=1) == 200 * 13
    assert batches.events(10_000, rounds=4) == 200 * 40
    assert batches.events(1, rounds=1) < MOST_EVENTS


def test_a_run_larger_than_declared_is_objected_to() -> None:
    batches = Batches(most_entries=100)
    assert batches.too_many(100) is None
    assert "it has 101 entries" in str(batches.too_many(101))


def test_all_of_a_batch_are_called_at_once_where_the_target_takes_it() -> None:
    sizing = worker_sizing(job(concurrency=50, delivery=Batches(size=50)))
    assert (sizing.width, sizing.maximum_concurrency, sizing.batch_size) == (50, 1, 50)
    shared = worker_sizing(job(concurrency=50, delivery=Batches(size=50, at_once=2)))
    assert (shared.width, shared.maximum_concurrency) == (25, 2)
    assert shared.timeout >= 2 * TARGET.timeout


def test_a_job_in_batches_may_make_one_call_at_a_time() -> None:
    assert worker_sizing(job(concurrency=1, delivery=Batches(size=10, most_entries=100))).width == 1
    with pytest.raises(DeclarationError, match="2 batches are at work at once"):
        job(concurrency=1, delivery=Batches(size=10, at_once=2, most_entries=100))


def test_runs_in_batches_do_not_overlap() -> None:
    with pytest.raises(DeclarationError, match=r"take Overlap\.SKIP or Overlap\.QUEUE"):
        job(overlap=Overlap.ALLOW, delivery=Batches())


def test_a_batch_that_cannot_be_called_in_a_functions_longest_timeout_is_refused() -> None:
    slow = Target("slow", concurrency=80, timeout=timedelta(minutes=1))
    with pytest.raises(DeclarationError, match="take smaller batches or more concurrency"):
        worker_sizing(job(target=slow, concurrency=2, delivery=Batches(size=50)))


def test_a_target_without_keys_gets_one_call_at_a_time_from_a_batch() -> None:
    claimed = Target("claimed", concurrency=80, keys=None, timeout=SECOND)
    assert worker_sizing(job(target=claimed, concurrency=40, delivery=Batches(size=50))).width == 1
    keyed = Target("keyed", concurrency=80, keys=Keys(), timeout=SECOND)
    assert worker_sizing(job(target=keyed, concurrency=40, delivery=Batches(size=50))).width == 40


def test_the_state_machine_goes_on_after_a_slice_that_failed_for_good() -> None:
    found: Any = definition(Batches(at_once=3, pause=7 * SECOND), "arn:function")
    slices = found["States"]["Slices"]
    states = slices["ItemProcessor"]["States"]
    assert slices["MaxConcurrency"] == 3
    (caught,) = states["Handle the slice"]["Catch"]
    assert caught["ErrorEquals"] == ["States.ALL"]
    assert states[caught["Next"]] == {"Type": "Wait", "Seconds": 7, "Next": "Done"}
    assert states["Done"]["End"] is True


def test_the_page_names_tests_that_there_are() -> None:
    page = (ROOT / "docs/batches.md").read_text()
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", page))
    there = {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert named
    assert named <= there
