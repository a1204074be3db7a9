"""The rules that every single write to the ledger must keep, checked as it is made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rollcall.core.outcome import EXCEPTIONAL
from rollcall.core.run import TERMINAL, RunState
from rollcall.core.tree import Node, Tree
from tests.simulation.models.attributes import Item, Value
from tests.simulation.models.stream import Stream
from tests.simulation.models.table import Table
from tests.simulation.plays.faults import LONGEST_SKEW

State = RunState
#: What may follow what, within a generation.
FOLLOWS: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.ENUMERATING, State.CANCELLED}),
    State.ENUMERATING: frozenset({State.DISPATCHING, State.COMPLETE, State.REFUSED, State.CANCELLED}),
    State.DISPATCHING: frozenset({State.RUNNING, State.COMPLETE, State.CANCELLING}),
    State.RUNNING: frozenset({State.COMPLETE, State.CANCELLING}),
    State.CANCELLING: frozenset({State.CANCELLED}),
}
FIRST = frozenset({State.ENUMERATING, State.QUEUED, State.SKIPPED, State.MISSED})
#: Of a run, for ever the same once they are there, within a generation.
CONSTANT = ("nonce", "total", "chunk_size", "fan_in", "scheduled_for", "job", "run")
_NONE: frozenset[int] = frozenset()


@dataclass
class Audit(Stream):
    """The ledger's stream, which looks at every change before anybody else does."""

    table: Table = field(default_factory=lambda: Table("pk"))
    #: Jobs whose runs may overlap.
    overlapping: frozenset[str] = frozenset()
    violations: list[str] = field(default_factory=list)
    #: When each generation of a run was in which state, from when on: `(run, generation) -> [(at, state)]`.
    states: dict[tuple[str, int], list[tuple[float, State]]] = field(default_factory=dict)
    #: When each position was settled: `(run, generation, index) -> (at, outcome or None for success)`.
    settled: dict[tuple[str, int, int], tuple[float, str | None]] = field(default_factory=dict)

    def append(self, at: float, key: Item, old: Item | None, new: Item | None) -> None:
        super().append(at, key, old, new)
        name = str(key["pk"][1])
        kind, before, after = name.partition("#")[0], _plain(old), _plain(new)
        rules = {
            "run": self._run,
            "node": self._node,
            "entry": self._entry,
            "slice": self._slice,
            "waiting": self._waiting,
            "job": self._job,
            "target": self._target,
        }
        for broken in rules[kind](at, name, before, after):
            self.violations.append(f"{broken}: {name}: {_difference(before, after)}")

    # --- RUN ---

    def _run(self, at: float, _: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        state, generation = State(new["state"]), new["generation"]
        known = self.states.setdefault((new["run"], generation), [])
        if not known or known[-1][1] is not state:
            known.append((at, state))
        if not old:
            if state not in FIRST:
                yield f"a run begins as {state}"
            return
        before = State(old["state"])
        if new["fence"] < old["fence"]:
            yield "a fence goes back"
        if generation != old["generation"]:
            yield from self._opened(old, new)
            return
        # A pipeline's run ends so that has nothing to do.
        left_out = state is State.SKIPPED and before in {State.DISPATCHING, State.RUNNING} and "skip_reason" in new
        if state is not before and state not in FOLLOWS.get(before, frozenset()) and not left_out:
            yield f"{before} becomes {state}"
        for field_ in CONSTANT:
            if field_ in old and old[field_] != new.get(field_):
                yield f"{field_} changes"
        if before in TERMINAL and any(old.get(name) != new.get(name) for name in ("completed_at", "reason", "total")):
            yield "an ended run changes"
        if "announced_at" in old and old["announced_at"] != new.get("announced_at"):
            yield "an announcement is taken back"
        if new.get("checkpoint", 0) < old.get("checkpoint", 0):
            yield "a checkpoint goes back"
        if new.get("checkpoint", 0) > new.get("total", 0) or new.get("window_end", 0) > new.get("total", 0):
            yield "a checkpoint or window lies behind the end"
        if state is not before and state in {State.COMPLETE, State.CANCELLED, State.SKIPPED} and new.get("total"):
            yield from self._ended(new)
        if state is State.CANCELLED and before is State.ENUMERATING and "nonce" in new:
            yield "a sealed run is cancelled before it is settled"
        if state is State.REFUSED and "nonce" in new:
            yield "a sealed run is refused"

    @staticmethod
    def _opened(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        if new["generation"] != old["generation"] + 1:
            yield "a generation is left out"
        if State(old["state"]) not in TERMINAL or "announced_at" not in old:
            yield "a generation is opened on a run that is not ended and announced"
        if State(new["state"]) is not State.ENUMERATING or new["fence"] <= old["fence"]:
            yield "a generation does not begin with an enumeration of its own fence"
        if "announced_at" in new or "nonce" in new or "completed_at" in new:
            yield "a generation begins with what the one before left"

    def _ended(self, run: dict[str, Any]) -> Iterator[str]:
        tree = _tree(run)
        settled = sum(
            len(self._node_of(run["run"], run["generation"], Node(0, number)).get("settled", _NONE))
            for number in range(tree.chunks)
        )
        if settled != tree.total:
            yield f"a run ends with {settled} of {tree.total} settled"

    # --- nodes ---

    def _node(self, at: float, name: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        _, run_id, generation, level, number = name.split("#")
        run = self._item(f"run#{run_id}")
        if not run:
            yield "counted for a run that there is not"
            return
        settled, before = new.get("settled", _NONE), old.get("settled", _NONE)
        if not before <= settled:
            yield "something settled is no more"
        if int(generation) == run["generation"] and "nonce" not in run:
            yield "counted before the seal"
            return
        if int(generation) > run["generation"]:
            yield "counted for a generation to come"
            return
        if int(generation) < run["generation"]:
            return
        tree, node = _tree(run), Node(int(level), int(number))
        touched = settled.union(*(value for value in new.values() if isinstance(value, frozenset)))
        if any(not 0 <= position < tree.expected(node) for position in touched):
            yield "a position that there is not"
        if node.level:
            yield from self._climbed(run, tree, node, settled - before)
        else:
            yield from self._outcomes(at, run, node, old, new)

    def _climbed(self, run: dict[str, Any], tree: Tree, node: Node, added: frozenset[int]) -> Iterator[str]:
        for position in added:
            child = tree.children(node)[position]
            if len(self._node_of(run["run"], run["generation"], child).get("settled", _NONE)) != tree.expected(child):
                yield f"{child} counts as full and is not"

    def _outcomes(
        self, at: float, run: dict[str, Any], node: Node, old: dict[str, Any], new: dict[str, Any]
    ) -> Iterator[str]:
        settled, before = new.get("settled", _NONE), old.get("settled", _NONE)
        seen: frozenset[int] = _NONE
        for outcome in EXCEPTIONAL:
            members, earlier = new.get(outcome.value, _NONE), old.get(outcome.value, _NONE)
            if not earlier <= members:
                yield f"an outcome is taken back: {outcome}"
            if (members - earlier) & before:
                yield f"an outcome is flipped to {outcome}"
            if members & seen or not members <= settled:
                yield "a position has two outcomes, or one without being settled"
            seen |= members
        for position in settled - before:
            outcome_ = next((each.value for each in EXCEPTIONAL if position in new.get(each.value, _NONE)), None)
            index = node.number * run["chunk_size"] + position
            self.settled[run["run"], run["generation"], index] = at, outcome_
        if settled - before and State(run["state"]) in TERMINAL:
            yield "settled after the end"

    # --- the others ---

    @staticmethod
    def _entry(_at: float, _name: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        if new.get("fence", 0) not in {old.get("fence", 0), old.get("fence", 0) + 1}:
            yield "a claim's fence goes back or leaps"
        if "owner" in new and new["owner"] != old.get("owner") and "owner" in old:
            yield "a claim is taken away from its owner"
        if "first_call" in old and old["first_call"] != new.get("first_call"):
            yield "the first call is forgotten"
        for field_ in new:
            if field_.endswith("_attempts") and new[field_] not in {old.get(field_, 0), old.get(field_, 0) + 1}:
                yield "attempts leap"

    @staticmethod
    def _slice(at: float, _name: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        taken = "lease_until" in old and "lease_until" in new and old["owner"] != new["owner"]
        if taken and datetime.fromisoformat(old["lease_until"]).timestamp() > at + LONGEST_SKEW.total_seconds():
            yield "a slice is taken away from its owner"
        if "began_at" in old and old["began_at"] != new.get("began_at"):
            yield "it is forgotten when a slice was first handled"

    @staticmethod
    def _waiting(_at: float, _name: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        same = (old.get("by"), old.get("generation")) == (new["by"], new["generation"])
        if same and not old["tokens"] <= new["tokens"]:
            yield "somebody who waits is forgotten"

    def _job(self, _: float, name: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        current, before = new.get("current"), old.get("current")
        taken = current != before or new.get("current_generation") != old.get("current_generation")
        if before is None or not taken or name.partition("#")[2] in self.overlapping:
            return
        holder = self._item(f"run#{before}")
        moved_on = before == current and holder and holder["generation"] == new.get("current_generation")
        if holder and State(holder["state"]) not in TERMINAL and not moved_on:
            yield f"{before} is not ended, and its job is taken from it"

    @staticmethod
    def _target(_at: float, _name: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        if new.get("epoch", 0) not in {old.get("epoch", 0), old.get("epoch", 0) + 1}:
            yield "an epoch goes back or leaps"
        if "open_until" not in new and "trier" in new:
            yield "somebody tries a target that is not down"

    # --- looking ---

    def _item(self, name: str) -> dict[str, Any]:
        return _plain(self.table.items.get(("S", name)))

    def _node_of(self, run: str, generation: int, node: Node) -> dict[str, Any]:
        return self._item(f"node#{run}#{generation}#{node.level}#{node.number}")

    def state_at(self, run: str, generation: int, at: float) -> tuple[State | None, float]:
        """The state of a run's generation at that moment, and since when; None before it began."""
        found: tuple[State | None, float] = (None, 0.0)
        for since, state in self.states.get((run, generation), []):
            if since <= at:
                found = state, since
        return found

    def generation_at(self, run: str, at: float) -> int:
        """The latest generation that had begun by then."""
        begun = [number for (name, number), known in self.states.items() if name == run and known[0][0] <= at]
        return max(begun, default=0)


def _tree(run: Mapping[str, Any]) -> Tree:
    return Tree(run.get("total", 0), run["chunk_size"], run["fan_in"])


def _plain(item: Item | None) -> dict[str, Any]:
    return {} if item is None else {name: _value(value) for name, value in item.items()}


def _value(value: Value) -> Any:
    kind, content = value
    match kind:
        case "M":
            return _plain(content)
        case "L":
            return [_value(member) for member in content]
    return content


def _difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = old.keys() | new.keys()
    return {name: (old.get(name), new.get(name)) for name in sorted(names) if old.get(name) != new.get(name)}
