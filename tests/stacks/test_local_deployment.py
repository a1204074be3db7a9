"""What of the stacks `make deploy-local` deploys to MiniStack, and what it looks for when it has destroyed them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rollcall.core.catalog import catalog
from tests.stacks.cloud import Cloud
from tests.stacks.deployed import EVERY
from tools.deploy_local.account import LISTED, PARTS
from tools.deploy_local.app import environment
from tools.deploy_local.assembly import METRIC_ALARM, Assembly, taken_types

#: The only ones that stand in no stack which MiniStack takes. Alarms: those on an expression.
NOT_TAKEN = frozenset({METRIC_ALARM})


@pytest.fixture(scope="module")
def taken() -> frozenset[str]:
    return taken_types()


@pytest.fixture(scope="module")
def assembly(clouds: Mapping[str, Cloud]) -> Assembly:
    """All environments and the sample's."""
    return Assembly.read(Path(clouds["dev"].folder))


def test_what_ministack_does_not_take_stands_in_stacks_of_its_own(assembly: Assembly, taken: frozenset[str]) -> None:
    for stack, template in assembly.templates.items():
        left_out = assembly.not_taken(stack, taken)
        assert left_out.keys() in (set(), template["Resources"].keys()), f"{stack} mixes"


def test_exactly_that_is_left_out(assembly: Assembly, taken: frozenset[str]) -> None:
    deployed = assembly.taken(taken)
    left_out = assembly.templates.keys() - deployed
    assert left_out == {f"rollcall-{name}-sums" for name in EVERY}
    assert assembly.types(*left_out) == NOT_TAKEN


def test_an_alarm_on_an_expression_is_not_taken() -> None:
    alarms = {
        "OnOne": {"Type": METRIC_ALARM, "Properties": {"MetricName": "Errors"}},
        "OnSum": {"Type": METRIC_ALARM, "Properties": {"Metrics": [{"Expression": "SUM([m0, m1])"}]}},
    }
    assembly = Assembly({"alarms": {"Resources": alarms}, "empty": {}})
    assert assembly.not_taken("alarms", {METRIC_ALARM}) == {"OnSum": METRIC_ALARM}
    assert assembly.not_taken("alarms", set()).keys() == alarms.keys()
    assert assembly.taken({METRIC_ALARM}) == ["empty"]


def test_every_type_that_is_deployed_is_looked_for_when_it_is_destroyed(
    assembly: Assembly, taken: frozenset[str]
) -> None:
    assert assembly.types(*assembly.taken(taken)) - LISTED.keys() - PARTS == set()


def test_the_local_environment_calls_nobody_but_stand_ins_and_fires_nothing() -> None:
    jobs = list(catalog().values())
    local = environment(jobs, "http://127.0.0.1:1234")
    assert not local.schedules_enabled
    assert not local.retained
    assert set(local.systems) == {declared.system for declared in jobs}
    for location in (*local.targets.values(), *local.reports.values()):
        assert location.url.startswith("http://127.0.0.1:1234/")
        assert location.secret is None
