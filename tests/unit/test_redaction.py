"""Secrets in texts: every form that texts repeat them in is replaced, and nothing else is touched."""

import base64
import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.core.redaction import MOST_ESCAPED, REPLACEMENT, Redaction, texts_of, unredacted, without_values

SECRETS = {
    "letters": "hunter2hunter2",
    "signs": "pä\"ss w/ö+d&<1'\\",
    "escapes": "C:\\new\\u0041%41&amp;x",
    "control characters": "one\ttwo\nthree☃😀",
}


def lower(text: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), text)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "a URL": quote,
    "a URL, slashes too": lambda text: quote(text, safe=""),
    "a URL in lower case": lambda text: lower(quote(text, safe="")),
    "a form": quote_plus,
    "a form in lower case": lambda text: lower(quote_plus(text)),
    "every byte in percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "a URL in a URL": lambda text: quote(quote(text), safe=""),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON beyond ASCII": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON with slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON in upper case": lambda text: re.sub(r"\\u\w{4}", lambda e: "\\u" + e[0][2:].upper(), json.dumps(text)[1:-1]),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"said": text})),
    "a URL in JSON in JSON": lambda text: json.dumps(json.dumps({"said": quote(text)})),
    "HTML": html.escape,
    "HTML without quotes": lambda text: html.escape(text, quote=False),
    "HTML in numbers": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "HTML in hexadecimal": lambda text: "".join(f"&#x{ord(each):x};" for each in text),
    "JSON in HTML": lambda text: html.escape(json.dumps(text)),
    "what Python shows": repr,
    "what Python shows in ASCII": ascii,
    "what Python shows of bytes": lambda text: repr(text.encode()),
    "Base64": encoded,
    "Base64 without padding": lambda text: encoded(text).rstrip("="),
    "Base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "Base64 in a URL": lambda text: quote(encoded(text), safe=""),
    "hexadecimal": lambda text: text.encode().hex(),
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_secret_is_replaced_in_every_form(form: Callable[[str], str], secret: str) -> None:
    shown = form(secret)
    redacted = Redaction().also([secret])(f"before <{shown}> after")
    assert redacted.startswith("before <")
    assert redacted.endswith("> after")
    assert REPLACEMENT in redacted
    # Quotes and names around it may stay.
    assert len(redacted) <= len(f"before <{REPLACEMENT}> after") + 20


@pytest.mark.parametrize("before", ["", "a", "ab", "user:", "Überweisung "])
@pytest.mark.parametrize("after", ["", "a", "ab", "abc"])
def test_a_secret_is_found_wherever_it_begins_in_a_base64_text(before: str, after: str) -> None:
    shown = encoded(f"{before}hunter2hunter2{after}")
    redacted = Redaction().also(["hunter2hunter2"])(shown)
    assert REPLACEMENT in redacted
    left = "".join(redacted.split(REPLACEMENT))
    # What is left of it are the characters that it shares with its neighbours.
    assert len(left) <= len(encoded(before)) + len(encoded(after)) + 4


def test_a_text_without_a_secret_is_the_same_object_and_no_form_is_looked_for() -> None:
    text = "50 % of D01 &amp; D02 \\ are settled"
    redaction = Redaction().also(["hunter2hunter2"])
    assert redaction(text) is text
    assert Redaction()(text) is text
    assert "_forms" not in vars(Redaction())
    assert unredacted(text) is text


@pytest.mark.parametrize(("length", "replaced"), [(7, False), (8, True)])
def test_what_is_shorter_than_eight_characters_is_no_secret(length: int, *, replaced: bool) -> None:
    secret = "x1y2z3w4"[:length]
    assert (Redaction().also([secret])(f"it is {secret}") == f"it is {REPLACEMENT}") is replaced


def test_the_longest_of_overlapping_secrets_is_replaced_as_a_whole() -> None:
    redaction = Redaction().also(["hunter2hunter2", "hunter2hunter2-and-more", "2hunter2-and"])
    assert redaction("<hunter2hunter2-and-more>") == f"<{REPLACEMENT}>"
    assert redaction("<xhunter2hunter2-and>") == f"<x{REPLACEMENT}>"


def test_each_occurrence_is_replaced() -> None:
    redaction = Redaction().also(["hunter2hunter2"])
    assert redaction("hunter2hunter2, hunter2hunter2") == f"{REPLACEMENT}, {REPLACEMENT}"
    assert "hunter2" not in redaction("hunter2" * 5)


def test_a_secret_behind_the_escapes_that_are_undone_is_still_found_as_it_is() -> None:
    text = "&amp;" * MOST_ESCAPED + "hunter2hunter2"
    assert Redaction().also(["hunter2hunter2"])(text).endswith(f"&amp;{REPLACEMENT}")


def test_a_text_that_is_no_unicode_is_searched_too() -> None:
    redaction = Redaction().also(["hunter2\ud83dhunter2"])
    assert redaction("\ud800 hunter2\ud83dhunter2 \ud800") == f"\ud800 {REPLACEMENT} \ud800"


@given(st.text(), st.text(min_size=8, max_size=30), st.text())
def test_whatever_surrounds_a_secret_it_is_gone(before: str, secret: str, after: str) -> None:
    assert secret not in Redaction().also([secret])(f"{before}{secret}{after}").replace(REPLACEMENT, "")


@given(st.text(alphabet='%&\\\\ux;#41"dD8cC', max_size=60))
def test_no_escape_is_too_strange(text: str) -> None:
    assert Redaction().also(["hunter2hunter2"])(text) == text


def test_what_is_shown_of_a_redaction_has_no_secret() -> None:
    assert "hunter2" not in repr(Redaction().also(["hunter2hunter2"]))


@pytest.mark.parametrize(
    ("secret", "texts"),
    [
        ("plain text", {"plain text"}),
        ("with a line break\n", {"with a line break\n", "with a line break"}),
        ("-----BEGIN\nMIIE\n-----END", {"-----BEGIN\nMIIE\n-----END", "-----BEGIN", "MIIE", "-----END"}),
        ('{"token": "t0k3n"}', {'{"token": "t0k3n"}', "t0k3n"}),
        ('{"a": {"b": ["c", 12345678, null, true]}}', {'{"a": {"b": ["c", 12345678, null, true]}}', "c", "12345678"}),
    ],
    ids=["text", "line break", "lines", "JSON", "deep JSON"],
)
def test_a_secret_consists_of_its_text_its_lines_and_its_values(secret: str, texts: set[str]) -> None:
    assert set(texts_of(secret)) == texts


def test_values_of_a_record_are_replaced_and_names_of_its_fields_stay() -> None:
    record = {"Client": "Ann Smith", "Amount": 1234.5, "Paid": True, "Lines": [{"IBAN": "DE02"}], "Note": None}
    text = "Client Ann Smith of D01: Amount 1234.5 is not True for IBAN DE02"
    assert without_values(text, record, "D01") == (
        "Client [value] of [value]: Amount [value] is not True for IBAN [value]"
    )


def test_the_longest_value_is_replaced_first() -> None:
    assert without_values("it is Ann Smith", {"first": "Ann", "whole": "Ann Smith"}) == "it is [value]"
