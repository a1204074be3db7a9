"""What is written in the ledger when all has ended, and nothing went wrong between the engine and the services."""

from collections.abc import Iterator

from rollcall.adapters.ledger.records import NodeRecord
from rollcall.core.run import RunState
from rollcall.core.sizing import MAX_RECEIVE_COUNT
from tests.simulation.plays.counterparty import Mishap
from tests.simulation.plays.history import History

_CANCELLED = frozenset({RunState.CANCELLING, RunState.CANCELLED})


def nobody_is_in_hand(history: History) -> Iterator[str]:
    """Of a chunk that is settled nothing is in a call, held, or to be asked about: the watchdog counts these."""
    played = history.played
    cancelled = any(state in _CANCELLED for states in played.audit.states.values() for _, state in states)
    poisoned = any({Mishap.POISON_BEFORE, Mishap.POISON_AFTER} & plan.mishaps.keys() for plan in history.plans.values())
    # What a dead letter settles was in the hand of whoever returned it last.
    buried = any(plan.most_receives < MAX_RECEIVE_COUNT for plan in history.plans.values())
    if not played.calm or cancelled or poisoned or buried:
        return
    names = [name for _, name in played.audit.table.items if name.startswith("node#")]
    for name, item in played.cloud.ledger.items(names).items():
        node = NodeRecord.of(item)
        if left := {"begun": node.begun, "held": node.held, "asked about": node.asking}:
            yield from (f"{name}: {positions} are {what}" for what, positions in left.items() if positions)


def a_claim_that_is_over_says_so(history: History) -> Iterator[str]:
    """Whoever finds no claim must not wait for the end of its call."""
    played = history.played
    if not played.calm:
        return
    names = [name for _, name in played.audit.table.items if name.startswith("entry#")]
    for name, item in played.cloud.ledger.items(names).items():
        asked = any(field.endswith("_asked") for field in item)
        if "called_until" in item and "owner" not in item and not asked:
            yield f"{name} is called until {item['called_until']}, by nobody"
