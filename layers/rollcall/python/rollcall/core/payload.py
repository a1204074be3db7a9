"""Payloads: checked against the callback's annotation when they are enumerated, built from JSON for the call."""

from typing import Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from rollcall.core.entry import (
    LARGEST_PAYLOAD,
    UNUSABLE,
    Entry,
    ManifestEntry,
    checked_idempotency_key,
    checked_key,
)
from rollcall.core.errors import DeclarationError, InvalidEntry
from rollcall.core.numbers import check_numbers, may_hold_unusable
from rollcall.core.values import Json, canonical


class PayloadType:
    """The type that a callback's first parameter is annotated with: a pydantic model, dataclass or plain type."""

    def __init__(self, annotation: Any) -> None:
        """Raises DeclarationError for an annotation that pydantic cannot check against."""
        try:
            self._adapter = _adapter_of(annotation)
        except PydanticUserError as error:
            raise DeclarationError(
                f"payloads cannot be checked against {annotation!r}; take a pydantic model, a dataclass or a plain type"
            ) from error

    def checked(self, payload: object) -> Json:
        """`payload`, validated, as JSON values from which `build` makes the same object again.

        Raises InvalidEntry with every fault in one line, also for errors of the job's own validators and serializers:
        what they meet in one entry must not end the run for the others.
        """
        try:
            check_numbers(payload)
            valid = self._adapter.validate_python(payload)
        except InvalidEntry:
            raise
        except RecursionError as error:
            raise InvalidEntry("its payload is not JSON: it is nested too deeply") from error
        except ValidationError as error:
            raise InvalidEntry(_in_one_line(error)) from error
        except Exception as error:
            raise InvalidEntry(f"its payload cannot be checked: {_told(error)}") from error
        try:
            value: Json = self._adapter.dump_python(valid, mode="json", by_alias=True)
            text = canonical(value)
        except Exception as error:
            raise InvalidEntry(f"its payload is not JSON: {_told(error)}") from error
        if len(text) > LARGEST_PAYLOAD:
            raise InvalidEntry(
                f"too large: its payload has {len(text):,} bytes of JSON; the most is {LARGEST_PAYLOAD:,}"
            )
        try:
            self._built(text, own=True)
        except InvalidEntry:
            raise
        except Exception as error:
            raise InvalidEntry(f"its payload cannot be built again from its JSON: {_told(error)}") from error
        return value

    def build(self, payload: Json) -> Any:
        """The object that the callback gets. Raises InvalidEntry where a number in it is beyond the bounds."""
        return self._built(canonical(payload), own=False)

    def _built(self, text: str, *, own: bool) -> Any:
        # As JSON, for what is strict about Python's types; by name, for aliases that hold for validation only.
        built = self._adapter.validate_json(text, by_alias=True, by_name=True)
        if may_hold_unusable(text, own=own):
            check_numbers(
                self._adapter.dump_python(built, warnings=False)
            )  # a Decimal is text in JSON, and a text need not be one
        return built

    def enumerated(self, entry: Entry) -> ManifestEntry:
        """`entry` as it goes into the manifest; one that cannot be called is there as rejected, with the reason."""
        try:
            key = checked_key(entry.key)
        except InvalidEntry as error:
            return ManifestEntry(None, _presentable(entry.payload), rejected=str(error))
        try:
            own = checked_idempotency_key(entry.idempotency_key)
        except InvalidEntry as error:
            return ManifestEntry(key, _presentable(entry.payload), UNUSABLE, rejected=str(error))
        try:
            return ManifestEntry(key, self.checked(entry.payload), own)
        except InvalidEntry as error:
            return ManifestEntry(key, _presentable(entry.payload), own, rejected=str(error))


def _adapter_of(annotation: Any) -> TypeAdapter[Any]:
    try:
        # Else NaN would become null without a word.
        return TypeAdapter(annotation, config=ConfigDict(ser_json_inf_nan="constants"))
    except PydanticUserError:
        return TypeAdapter(annotation)  # a model or dataclass, which has its own configuration


def _presentable(payload: object) -> Json:
    """A rejected payload for people to look at: as JSON where it can be and is not too large, else None."""
    try:
        check_numbers(payload)
        value: Json = TypeAdapter(Any).dump_python(payload, mode="json", fallback=str)
        return value if len(canonical(value)) <= LARGEST_PAYLOAD else None
    except Exception:  # whatever the strange objects in it do when they are shown
        return None


def _told(error: Exception) -> str:
    return _in_one_line(error) if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"[:500]


def _in_one_line(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    shown = [f"{'.'.join(str(part) for part in fault['loc']) or 'payload'}: {fault['msg']}" for fault in faults[:5]]
    return "; ".join(shown if len(faults) <= 5 else [*shown, f"and {len(faults) - 5} more faults"])[:500]
