"""An operator looks at a run whose keys, answers and reasons were written to take over his terminal."""

import json
import sys

import pytest
from botocore.exceptions import ClientError

from rollcall import Entry, Response
from tests.functional.operator import Operator
from tests.functional.wire import Sent
from tests.functional.world import NAME, RUN
from tools.cli.terminal import visible

KEY = "D\x1b]0;owned\x07\u202e[red]\x9b2J"
ANSWER = "no\x1b[2J\r\n\x1b[31mD00 is fine[link=http://evil.example]"
REASON = "cut\x1b[1A\x1b[2K\u2028nothing is wrong\x85"


def unsafe(text: str) -> set[str]:
    return {ascii(char) for char in text if char != "\n" and visible(char) != char}


@pytest.fixture
def run(operator: Operator) -> str:
    """A run that has ended, with one entry that was rejected."""
    operator.world.report = [Entry(KEY, {"deposit": KEY}), Entry("well", {})]

    async def rejecting(request: object) -> Response:
        del request
        return Response(422, {}, ANSWER.encode())

    operator.world.target.send = rejecting  # type: ignore[method-assign]
    run = operator.started()
    operator.world.tamper(run, reason=REASON)
    return run


def commands(run: str) -> list[tuple[str, ...]]:
    shown = [
        ("failures", run),
        ("status", run),
        ("status", NAME),
        ("status",),
        ("verify", run),
        ("status", run, "--wait"),
    ]
    return [*shown, ("cancel", run), ("pause", NAME), ("resume", NAME)]


def test_each_command_shows_them_as_text(operator: Operator, run: str) -> None:
    for arguments in commands(run):
        ended = operator.rollcall(*arguments)
        assert unsafe(ended.out + ended.err) == set(), arguments
    assert r"D\x1b]0;owned" in operator.rollcall("failures", run).out
    assert r"cut\x1b[1A" in operator.rollcall("status", run).out


def test_json_has_them_exactly_and_in_ascii(operator: Operator, run: str) -> None:
    for arguments in commands(run):
        ended = operator.rollcall(*arguments, "--json")
        assert ended.out.isascii(), arguments
        assert unsafe(ended.out + ended.err) == set(), arguments
    found = operator.rollcall("failures", run, "--json").result["failures"]
    assert KEY in [each["key"] for each in found]
    assert operator.rollcall("status", run, "--json").result["reason"] == REASON


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", f"{RUN}\x1b[2J"),
        ("failures", f"{RUN}\x9b2J"),
        ("failures", RUN, "--entry", "\x1b[2J"),
        ("start", "\x1b]0;owned\x07"),
        ("start", NAME, "--param", "\x1b[2J\udc9b"),
        ("\u202ejobs",),
        ("jobs", "--\x1b[2J"),
        ("jobs", "--at", "\x1b[2J"),
    ],
    ids=ascii,
)
def test_what_was_typed_is_no_escape_in_an_error(operator: Operator, arguments: tuple[str, ...]) -> None:
    ended = operator.rollcall(*arguments)
    assert ended.code == 1
    assert ended.err.startswith("rollcall: ")
    assert unsafe(ended.out + ended.err) == set()


def test_what_aws_answers_is_no_escape_in_an_error(operator: Operator, run: str) -> None:
    def refuse(sent: Sent) -> None:
        raise ClientError({"Error": {"Code": "Odd\x1b[2J", "Message": "\x1b]0;owned\x07\n\u202e"}}, sent.operation)

    operator.world.wire.before = refuse
    told = operator.told("status", run)
    assert r"Odd\x1b[2J: \x1b]0;owned\x07 \u202e" in told
    assert unsafe(told) == set()


def test_a_payload_is_what_it_was(operator: Operator, run: str) -> None:
    [found] = [each for each in operator.rollcall("failures", run, "--json").result["failures"] if each["key"] == KEY]
    assert json.dumps(found["payload"]) == json.dumps({"deposit": KEY})


def test_a_fault_of_our_own_is_no_escape_in_its_traceback(operator: Operator, run: str) -> None:
    def fail(_: Sent) -> None:
        raise LookupError("\x1b[2J\u202e")

    operator.world.wire.before = fail
    with pytest.raises(LookupError) as raised:
        operator.rollcall("status", run)
    sys.excepthook(raised.type, raised.value, None)
    assert operator.capsys.readouterr().err.endswith("LookupError: \\x1b[2J\\u202e\n")
