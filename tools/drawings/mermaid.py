"""A state machine in Amazon States Language as a Mermaid flowchart, which GitHub draws.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

#: A definition, a state, or a rule of a choice, in Amazon States Language.
States = Mapping[str, Any]

#: What stands for a comparison; others are told by their name.
_SIGNS = {"Equals": "is", "LessThan": "<", "GreaterThan": ">", "LessThanEquals": "<=", "GreaterThanEquals": ">="}
_TYPES = ("Boolean", "Numeric", "String", "Timestamp")
_WAITS_FOR_A_TOKEN = ".waitForTaskToken"


def flowchart(definition: States) -> str:
    """The lines of a Mermaid flowchart. Raises ValueError for a state of an unknown type."""
    return "\n".join(["flowchart TD", *_Drawing().machine(definition, 1)]) + "\n"


class _Drawing:
    """Names nodes as they come, so that the same definition gives the same text."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def machine(self, definition: States, depth: int) -> Iterator[str]:
        """The states of a state machine, or of what a Map or a Parallel state does, from a start to an end."""
        number, indent = next(self._numbers), "  " * depth
        start, end = f"start{number}", f"end{number}"
        ids = {name: f"s{next(self._numbers)}" for name in definition["States"]}
        yield f'{indent}{start}(["start"])'
        for name, state in definition["States"].items():
            yield from self._node(ids[name], name, state, depth)
        if any(_ends(state) for state in definition["States"].values()):
            yield f'{indent}{end}(["end"])'
        yield f"{indent}{start} --> {ids[definition['StartAt']]}"
        for name, state in definition["States"].items():
            for target, label in _ways(state):
                arrow = "-->" if label is None else f'-->|"{_text(label)}"|'
                yield f"{indent}{ids[name]} {arrow} {end if target is None else ids[target]}"

    def _node(self, id_: str, name: str, state: States, depth: int) -> Iterator[str]:
        indent, label = "  " * depth, _label(name, state)
        match state["Type"]:
            case "Map":
                yield from self._within(id_, label, [state.get("ItemProcessor") or state["Iterator"]], depth)
            case "Parallel":
                yield from self._within(id_, label, state["Branches"], depth)
            case "Choice":
                yield f'{indent}{id_}{{"{label}"}}'
            case "Wait":
                yield f'{indent}{id_}[/"{label}"/]'
            case "Succeed" | "Fail":
                yield f'{indent}{id_}(["{label}"])'
            case "Task" | "Pass":
                yield f'{indent}{id_}["{label}"]'
            case other:
                raise ValueError(f"state {name!r} is of type {other!r}, which nobody knows how to draw")

    def _within(self, id_: str, label: str, machines: Iterable[States], depth: int) -> Iterator[str]:
        indent = "  " * depth
        yield f'{indent}subgraph {id_}["{label}"]'
        for machine in machines:
            yield from self.machine(machine, depth + 1)
        yield f"{indent}end"


def _ends(state: States) -> bool:
    return bool(state.get("End"))


def _ways(state: States) -> Iterator[tuple[str | None, str | None]]:
    """Where it goes on, None for the end, and when."""
    for rule in state.get("Choices", ()):
        yield rule["Next"], _rule(rule)
    if "Default" in state:
        yield state["Default"], "otherwise"
    if "Next" in state:
        yield state["Next"], None
    if _ends(state):
        yield None, None
    for catcher in state.get("Catch", ()):
        yield catcher["Next"], f"fails: {_errors(catcher)}"


def _errors(of: States) -> str:
    return ", ".join("whatever it is" if error == "States.ALL" else error for error in of["ErrorEquals"])


def _rule(rule: States) -> str:
    for word, joined in (("And", " and "), ("Or", " or ")):
        if word in rule:
            return joined.join(map(_rule, rule[word]))
    if "Not" in rule:
        return f"not ({_rule(rule['Not'])})"
    if "Condition" in rule:
        return str(rule["Condition"])
    ((name, value),) = ((key, value) for key, value in rule.items() if key not in {"Variable", "Next", "Comment"})
    return f"{_path(rule['Variable'])} {_sign(name)} {str(value).lower() if isinstance(value, bool) else value}"


def _sign(comparison: str) -> str:
    kind = next((each for each in _TYPES if comparison.startswith(each)), "")
    return _SIGNS.get(comparison.removeprefix(kind), comparison)


def _label(name: str, state: States) -> str:
    return "<br/>".join(map(_text, (name, *_details(state))))


def _details(state: States) -> Iterator[str]:
    match state["Type"]:
        case "Map":
            at_once = f"{state['MaxConcurrency']} at a time" if state.get("MaxConcurrency") else "all at once"
            yield f"for each of {_path(state.get('ItemsPath', '$'))}, {at_once}"
        case "Task":
            yield "waits for its token" if str(state["Resource"]).endswith(_WAITS_FOR_A_TOKEN) else "task"
        case "Wait":
            yield f"wait {_wait(state)}"
        case "Fail":
            yield f"fails: {state.get('Error', '')}"
    for retrier in state.get("Retry", ()):
        often = retrier.get("MaxAttempts", 3)
        yield f"again up to {often} times from {retrier.get('IntervalSeconds', 1)} s on: {_errors(retrier)}"


def _wait(state: States) -> str:
    if "Seconds" in state:
        return f"{state['Seconds']} s"
    if "SecondsPath" in state:
        return f"{_path(state['SecondsPath'])} s"
    return f"until {state.get('Timestamp') or _path(state['TimestampPath'])}"


def _path(path: str) -> str:
    return path.removeprefix("$.")


def _text(text: str) -> str:
    """As it may stand between quotes in Mermaid."""
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
