"""What docs/operating.md says that a command has to be allowed is what it asks of AWS, no more and no less."""

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from rollcall.adapters.ledger.records import node_key
from rollcall.adapters.ledger.update import Update
from rollcall.core import names
from tests.functional.operator import FAN_OUT, LEDGER, MANIFESTS, WATCHDOG, Operator
from tests.functional.world import ENVIRONMENT, NAME, RUN

PAGE = (Path(__file__).parents[2] / "docs/operating.md").read_text()
QUEUE = names.queue_name(ENVIRONMENT, NAME)
COLUMNS = {LEDGER: "ledger", MANIFESTS: "manifests", FAN_OUT: "fan-out", WATCHDOG: "watchdog", QUEUE: "queue"}
#: Operations that have the name of another action.
ACTIONS = {"lambda:Invoke": "lambda:InvokeFunction"}

Allowed = dict[str, frozenset[str]]


def table() -> dict[str, Allowed]:
    """Command -> column -> actions."""
    _, _, text = PAGE.partition("| command | ledger |")
    header, _, *lines = ("| command | ledger |" + text.partition("\n\n")[0]).splitlines()
    columns = [cell.strip() for cell in header.strip("|").split("|")][1:]
    found = {}
    for line in lines:
        command, *cells = line.strip("|").split("|")
        actions = {name: frozenset(re.findall(r"`(.+?)`", cell)) for name, cell in zip(columns, cells, strict=True)}
        found[command.strip(" `")] = {name: some for name, some in actions.items() if some}
    return found


def used(operator: Operator) -> Allowed:
    """What was asked of AWS since the last look, as the page has it."""
    found = defaultdict[str, set[str]](set)
    for service, operation, resource in operator.requests:
        if service != "sts":
            action = f"{service}:{operation}"
            found[COLUMNS[resource]].add(ACTIONS.get(action, action))
    operator.requests.clear()
    return {name: frozenset(actions) for name, actions in found.items()}


def a_run_with_failures(operator: Operator) -> str:
    operator.world.target.script("D03", 422)
    run = operator.started()
    operator.requests.clear()
    return run


def starting(operator: Operator) -> None:
    operator.rollcall("start", NAME, "--wait")


def looking(operator: Operator) -> None:
    operator.rollcall("pause", NAME)
    run = operator.started()
    operator.world.work(operator.world.receive())
    operator.requests.clear()
    for more in ((), (NAME,), (run,)):
        assert operator.rollcall("status", *more).code == 0


def listing(operator: Operator) -> None:
    assert operator.rollcall("failures", a_run_with_failures(operator)).code == 0


def redriving(operator: Operator) -> None:
    assert operator.rollcall("redrive", a_run_with_failures(operator), "--wait").code == 0


def verifying(operator: Operator) -> None:
    assert operator.rollcall("verify", a_run_with_failures(operator)).code == 0


def repairing(operator: Operator) -> None:
    """Messages that were lost, and a count that stopped half way, and an end that was not announced."""
    operator.rollcall("pause", NAME)
    run = operator.started()
    operator.world.clients.sqs.purge_queue(QueueUrl=operator.world.queue_url)
    operator.rollcall("resume", NAME)
    operator.requests.clear()
    assert operator.rollcall("verify", run, "--repair").code == 0
    operator.announcing = False
    record = operator.world.start()
    assert record is not None
    operator.work()
    root = record.tree.root()
    assert root is not None
    Update().discard("settled", [0]).send(operator.world.clients.dynamodb, LEDGER, node_key(RUN, 1, root))
    assert operator.rollcall("verify", RUN, "--repair").code == 0


def cancelling(operator: Operator) -> None:
    operator.rollcall("pause", NAME)
    run = operator.started()
    operator.requests.clear()
    assert operator.rollcall("cancel", run).code == 0


def holding(operator: Operator) -> None:
    assert operator.rollcall("pause", NAME).code == 0


def letting_go(operator: Operator) -> None:
    assert operator.rollcall("resume", NAME).code == 0


STORIES: dict[str, Callable[[Operator], None]] = {
    "start": starting,
    "status": looking,
    "failures": listing,
    "redrive": redriving,
    "verify": verifying,
    "verify --repair": repairing,
    "cancel": cancelling,
    "pause": holding,
    "resume": letting_go,
}


def test_every_command_stands_on_the_page_and_no_other() -> None:
    assert table().keys() == STORIES.keys()


@pytest.mark.parametrize("command", STORIES)
def test_a_command_asks_what_the_page_says(operator: Operator, command: str) -> None:
    STORIES[command](operator)
    assert used(operator) == table()[command]


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_the_page_names_each_resource_as_it_is(name: str) -> None:
    shown = re.findall(
        rf"^\| {COLUMNS[name]} \| `arn:aws:\w+:\S*?:(?:table/|function:)?(rollcall-\S+?)(?:/\*)?` \|$", PAGE, re.M
    )
    (pattern,) = shown
    here = pattern.replace("E-", "test-").replace("A-R", "123456789012-eu-west-1").replace("*", NAME)
    assert here == name
