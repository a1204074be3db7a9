"""The page of metrics, and the runbook, tell what the code has."""

import re
from pathlib import Path

import pytest

from rollcall.core.actions import Action
from rollcall.core.metrics import JOB, Metric, measured
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunState

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "metrics.md").read_text()
#: Unit and actions of each metric, by its name.
ROWS = {
    name: (unit, set(re.findall(r"`([a-z_.]+)`", actions)))
    for name, unit, actions in re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \| .+ \|$", PAGE, re.M)
}
PAGES = sorted((DOCS / "runbook").glob("*.md"))


def events() -> list[dict[str, object]]:
    """Each kind of event once, with every field that a metric may be read from."""
    fields = {
        JOB: "a-job",
        "duration_seconds": 1,
        "held": 1,
        "oldest_seconds": 1,
        "open_seconds": 1,
        "kept": "a key",
        "outcomes": {outcome.value: 1 for outcome in Outcome},
    }
    return [
        fields | {"action": action.value, "state": state.value}
        for action in Action
        for state in RunState
        if state.terminal
    ]


def test_the_table_has_every_metric_and_no_other() -> None:
    assert list(ROWS) == [metric.value for metric in Metric]


@pytest.mark.parametrize("metric", Metric)
def test_the_table_tells_unit_and_events(metric: Metric) -> None:
    actions = {event["action"] for event in events() if metric in measured(event)}
    assert ROWS[metric.value] == (metric.unit.value, actions)
    assert actions


def test_a_dropped_message_that_was_no_dead_letter_measures_nothing() -> None:
    assert measured({"action": Action.MESSAGE_DROPPED.value, "reason": "its run is complete"}) == {}


def test_zeros_are_left_out() -> None:
    """Each metric is paid for in the hours in which it is written."""
    event = {
        "action": "run.announced",
        "state": "skipped",
        "duration_seconds": 0,
        "outcomes": dict.fromkeys(Outcome, 0),
    }
    assert measured(event) == {Metric.RUNS_SKIPPED: 1}


@pytest.mark.parametrize("page", [DOCS / "metrics.md", *PAGES], ids=lambda page: page.stem)
def test_events_that_a_page_has_people_look_for_are_written(page: Path) -> None:
    text = page.read_text()
    filters = re.findall(r"filter action (?:= |in \[)([^`\]\n]+)", text)
    named = {name for each in filters for name in re.findall(r'"([a-z_]+\.[a-z_]+)"', each)}
    assert named <= {action.value for action in Action}
    assert bool(named) == ("filter action" in text)


@pytest.mark.parametrize("page", [DOCS / "metrics.md", *PAGES], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_the_page_lists_every_page_of_the_runbook() -> None:
    assert set(re.findall(r"\(runbook/([a-z-]+)\.md\)", PAGE)) == {page.stem for page in PAGES}
