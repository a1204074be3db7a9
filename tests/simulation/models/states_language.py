"""Amazon States Language with JSONPath: how a state picks its data, fills in a template, keeps a result, and chooses.

https://states-language.net/spec.html; what none of our definitions uses is refused, not guessed.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from rollcall.core.values import Json

Template: TypeAlias = Any

#: Neither Retry nor Catch for all errors helps against it
#: (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html).
RUNTIME = "States.Runtime"
PARAMETER_PATH = "States.ParameterPathFailure"
RESULT_PATH = "States.ResultPathMatchFailure"
NO_CHOICE = "States.NoChoiceMatched"


class StateFailed(Exception):
    """A state failed with an error of that name."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


class _Nothing(Exception):
    """A path leads nowhere."""


def selected(path: str, data: Json, context: Json, failure: str = RUNTIME) -> Any:
    """What `$.a.b` names in `data`, or `$$.a.b` in `context`. Raises StateFailed, with `failure`, for nothing."""
    try:
        if path.startswith("$$"):
            return _followed(path[2:], context)
        return _followed(path.removeprefix("$"), data)
    except _Nothing as nothing:
        raise StateFailed(failure, f"the path {path} leads nowhere in {data}") from nothing


def _steps(path: str) -> list[str]:
    if (path and not path.startswith(".")) or any(mark in path for mark in "[*@?"):
        raise NotImplementedError(f"a path with more than names: {path}")
    return path.split(".")[1:]


def _followed(path: str, data: Any) -> Any:
    for step in _steps(path):
        if not isinstance(data, Mapping) or step not in data:
            raise _Nothing
        data = data[step]
    return data


def filled(template: Template, data: Json, context: Json) -> Any:
    """A payload template: fields whose names end in `.$` are paths, all others stand for themselves."""
    match template:
        case dict():
            return dict(_field(name, value, data, context) for name, value in template.items())
        case list():
            return [filled(each, data, context) for each in template]
    return template


def _field(name: str, value: Template, data: Json, context: Json) -> tuple[str, Any]:
    if not name.endswith(".$"):
        return name, filled(value, data, context)
    if value.startswith("States."):
        raise NotImplementedError(f"an intrinsic function: {value}")
    return name[:-2], selected(value, data, context, PARAMETER_PATH)


def kept(path: str | None, data: Any, result: Json) -> Any:
    """A state's output: its input with the result at `path`; the input itself where that is null."""
    if path is None:
        return data
    steps = _steps(path.removeprefix("$"))
    return _put(data, steps, result) if steps else result


def _put(data: Any, steps: list[str], result: Json) -> Any:
    if not steps:
        return result
    if not isinstance(data, Mapping):
        raise StateFailed(RESULT_PATH, f"there is no place for {steps[0]} in {data}")
    return {**data, steps[0]: _put(data.get(steps[0], {}), steps[1:], result)}


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "BooleanEquals": lambda value, wanted: isinstance(value, bool) and value is wanted,
    "StringEquals": lambda value, wanted: isinstance(value, str) and value == wanted,
    "NumericEquals": lambda value, wanted: _number(value) and value == wanted,
    "NumericLessThan": lambda value, wanted: _number(value) and value < wanted,
    "NumericLessThanEquals": lambda value, wanted: _number(value) and value <= wanted,
    "NumericGreaterThan": lambda value, wanted: _number(value) and value > wanted,
    "NumericGreaterThanEquals": lambda value, wanted: _number(value) and value >= wanted,
}


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def holds(rule: Mapping[str, Any], data: Json, context: Json) -> bool:
    """Whether a rule of a Choice holds. Raises StateFailed where its variable is not there."""
    match rule:
        case {"Not": inner}:
            return not holds(inner, data, context)
        case {"And": rules}:
            return all(holds(each, data, context) for each in rules)
        case {"Or": rules}:
            return any(holds(each, data, context) for each in rules)
    ((comparison, wanted),) = [(name, value) for name, value in rule.items() if name not in {"Variable", "Next"}]
    if comparison == "IsPresent":
        return _present(rule["Variable"], data, context) is wanted
    if comparison not in _COMPARISONS:
        raise NotImplementedError(f"a comparison by {comparison}")
    return _COMPARISONS[comparison](selected(rule["Variable"], data, context), wanted)


def _present(path: str, data: Json, context: Json) -> bool:
    try:
        selected(path, data, context)
    except StateFailed:
        return False
    return True
