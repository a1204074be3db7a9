"""The forms of the events that functions take. A later version's event has another form, and is refused as a whole."""

from collections.abc import Mapping
from typing import TypeAlias

from rollcall.core.errors import RollcallError

#: By the field that names a form: the other fields that an event of this form may have.
Forms: TypeAlias = Mapping[str, frozenset[str]]

#: As release 0.1.0 takes them. A new request gets a form with one field and no other
#: (docs/decisions/events-under-one-field.md).
FAN_OUT_FORMS: Forms = {
    # `tick_seconds` is for people who look at a schedule; the declaration decides.
    "scheduled_time": frozenset({"job", "nonce", "params", "tick_seconds"}),
    "resume": frozenset({"job"}),
    "repair": frozenset({"job"}),
    "redrive": frozenset({"job", "generation", "outcomes", "errors", "keys", "new_key"}),
}
#: What a state machine sends; `answer` is what the function returned when it last handled the slice.
SLICE_FORMS: Forms = {"slice": frozenset({"run", "generation", "answer"})}
STEP_FORMS: Forms = {"step": frozenset({"run", "generation", "token"})}

#: Characters of an unknown field's name that an error quotes, and how many names.
SHOWN_NAME, SHOWN_NAMES = 40, 5


def form_of(event: object, forms: Forms) -> str:
    """Return the field that names the event's form.

    Raises RollcallError for an event of no form, of several, or with a field that its form does not have.
    """
    if not isinstance(event, Mapping):
        raise RollcallError("the event is not a JSON object; send one")
    named = [name for name in forms if name in event]
    unknown = sorted(repr(str(name)[:SHOWN_NAME]) for name in event if not _known(name, forms, named))
    if unknown:
        raise RollcallError(
            f"the event has fields that this version does not know here: {', '.join(unknown[:SHOWN_NAMES])}; nothing "
            f"was done; deploy the version that the sender has, or send the event without them"
        )
    if len(named) != 1:
        raise RollcallError(
            f"the event has {len(named) or 'none'} of {', '.join(forms)}; nothing was done; send exactly one of them"
        )
    return named[0]


def _known(field: object, forms: Forms, named: list[str]) -> bool:
    """Whether one of the forms that the event names has the field; without any, whether some form has it."""
    return any(field == name or field in forms[name] for name in named or forms)
