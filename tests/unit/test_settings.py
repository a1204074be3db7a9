"""Settings: what the stack writes is what the handler reads, and anything else is said clearly."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.core.errors import DeclarationError, RollcallError
from rollcall.core.settings import Settings, required
from rollcall.core.target import Format, Location

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
secrets = st.text("abcXYZ019/_+=.@-", min_size=1)
locations = st.builds(Location, texts, secret=st.none() | secrets, format=st.none() | st.sampled_from(Format))
written = st.builds(
    Settings,
    environment=texts,
    ledger=texts,
    manifests=texts,
    bus=texts,
    job_module=st.none() | texts,
    queue_url=st.none() | texts,
    target=st.none() | locations,
    reports=st.dictionaries(texts, locations, max_size=3),
    buckets=st.dictionaries(texts, texts, max_size=3),
    schedules_enabled=st.booleans(),
)

ENVIRON = Settings(
    environment="dev",
    ledger="rollcall-dev-ledger",
    manifests="rollcall-dev-manifests",
    bus="rollcall-dev",
    target=Location("https://accounting.dev.example.com", "workday"),
).to_environ()


def complaint(environ: dict[str, str]) -> str:
    """What the handler says of `environ`."""
    with pytest.raises(RollcallError) as raised:
        Settings.from_environ(environ)
    return str(raised.value)


@given(written)
def test_what_the_stack_writes_is_what_the_handler_reads(settings: Settings) -> None:
    assert Settings.from_environ(settings.to_environ()) == settings


@given(written)
def test_every_variable_is_text_under_our_prefix(settings: Settings) -> None:
    environ = settings.to_environ()
    assert all(name.startswith("ROLLCALL_") and isinstance(text, str) for name, text in environ.items())


def test_what_has_no_value_is_not_written() -> None:
    assert sorted(ENVIRON) == [
        "ROLLCALL_BUS",
        "ROLLCALL_ENVIRONMENT",
        "ROLLCALL_LEDGER",
        "ROLLCALL_MANIFESTS",
        "ROLLCALL_TARGET",
    ]


def test_variables_of_others_are_none_of_our_business() -> None:
    assert Settings.from_environ({**ENVIRON, "AWS_REGION": "eu-west-1", "PATH": "/bin"}).environment == "dev"


def test_without_an_argument_the_process_s_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", ENVIRON)
    assert Settings.from_environ().ledger == "rollcall-dev-ledger"


@pytest.mark.parametrize("name", ["ENVIRONMENT", "LEDGER", "MANIFESTS", "BUS"])
def test_a_missing_variable_is_named(name: str) -> None:
    environ = {key: text for key, text in ENVIRON.items() if key != f"ROLLCALL_{name}"}
    assert f"ROLLCALL_{name}: Field required" in complaint(environ)


def test_all_that_is_missing_is_named_at_once() -> None:
    assert complaint({}).count("Field required") == 4


@pytest.mark.parametrize("name", ["ENVIRONMENT", "LEDGER", "MANIFESTS", "BUS"])
def test_an_empty_variable_is_named(name: str) -> None:
    assert f"ROLLCALL_{name} empty" in complaint({**ENVIRON, f"ROLLCALL_{name}": ""})


def test_a_variable_that_we_do_not_know_is_named() -> None:
    assert "ROLLCALL_LEGDER: Unexpected keyword argument" in complaint({**ENVIRON, "ROLLCALL_LEGDER": "x"})


@pytest.mark.parametrize("name", ["TARGET", "REPORTS"])
@pytest.mark.parametrize("text", ["", "{", "https://example.com"])
def test_a_variable_that_is_not_json_is_named(name: str, text: str) -> None:
    assert f"ROLLCALL_{name} should hold JSON and does not" in complaint({**ENVIRON, f"ROLLCALL_{name}": text})


@pytest.mark.parametrize(
    ("name", "text"),
    [("TARGET", "[]"), ("TARGET", "{}"), ("TARGET", '{"url": ""}'), ("REPORTS", '{"deposits": {}}'), ("REPORTS", "7")],
)
def test_json_of_another_shape_is_named(name: str, text: str) -> None:
    assert f"ROLLCALL_{name}: " in complaint({**ENVIRON, f"ROLLCALL_{name}": text})


def test_a_required_setting_is_itself() -> None:
    assert required("https://queue", "queue_url") == "https://queue"


def test_a_required_setting_that_is_missing_is_named_as_a_variable() -> None:
    with pytest.raises(RollcallError, match="lacks ROLLCALL_QUEUE_URL; its stack must set it"):
        required(None, "queue_url")


# --- Locations ---


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://workday.example.com/raas/deposits", Format.JSON),
        ("https://workday.example.com/raas/deposits?format=csv", Format.JSON),
        ("s3://reports/2026/Deposits.CSV", Format.CSV),
        ("reports/deposits.jsonl", Format.JSON_LINES),
        ("/tmp/deposits.ndjson", Format.JSON_LINES),  # noqa: S108 - never opened
        ("https://example.com/deposits.csv?page=1", Format.CSV),
    ],
)
def test_a_reports_format_is_told_by_its_ending(url: str, found: Format) -> None:
    assert Location(url).record_format() is found


def test_a_declared_format_wins() -> None:
    assert Location("https://example.com/deposits.json", format=Format.CSV).record_format() is Format.CSV


@pytest.mark.parametrize(
    ("url", "scheme"), [("https://a/b", "https"), ("s3://a/b", "s3"), ("a/b.json", "file"), ("file:///a/b", "file")]
)
def test_a_location_without_scheme_is_a_file(url: str, scheme: str) -> None:
    assert Location(url).scheme == scheme


def test_a_location_without_url_is_refused() -> None:
    with pytest.raises(DeclarationError, match="a location needs a URL"):
        Location("")
