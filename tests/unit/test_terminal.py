"""What strangers write reaches the operator's terminal as text that can only be read."""

import ast
import io
import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from rich.style import Style
from rich.table import Table
from rich.text import Text

from rollcall.core.entry import ManifestEntry
from rollcall.core.outcome import Outcome
from rollcall.core.run import JobRecord, RunRecord, RunState
from rollcall.engine.batch.pipeline_steps import Step
from rollcall.engine.runs.failures import Failure
from rollcall.engine.runs.progress import Held
from rollcall.engine.runs.verification import Inconsistency, Known, Missing, Wrong
from tools.cli import show, terminal
from tools.cli.local_run import Result
from tools.cli.looks import Look
from tools.cli.terminal import Terminal, guard_stderr, print_json, print_line, print_notice, visible
from tools.cli.verify import Verification
from tools.cli.watching import Standing
from tools.local_cloud.functions import Trouble

ROOT = Path(__file__).parents[2]
START = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)

HOSTILE = {
    "a colour": ("\x1b[31mred", r"\x1b[31mred"),
    "a cursor": ("\x1b[2J\x1b[H", r"\x1b[2J\x1b[H"),
    "a title": ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
    "a hyperlink": ("\x1b]8;;http://evil.example\x1b\\here\x1b]8;;\x1b\\", r"\x1b]8;;http://evil.example\x1b\here"),
    "a clipboard": ("\x1b]52;c;cm0gLXJmIH4=\x07", r"\x1b]52;c;cm0gLXJmIH4=\x07"),
    "a device's answer": ("\x1bP$q\x1b\\", r"\x1bP$q"),
    "an 8-bit sequence": ("\x9b31m\x9d0;owned\x9c", r"\x9b31m\x9d0;owned\x9c"),
    "a carriage return": ("bad\rgood", r"bad\rgood"),
    "backspaces": ("bad\x08\x08\x08ok", r"bad\x08\x08\x08ok"),
    "another line": ("no\nrun: complete, clean", r"no\nrun: complete, clean"),
    "other lines": ("a\x0bb\x0cc\x85d\u2028e\u2029f", r"a\x0bb\x0cc\x85d\u2028e\u2029f"),
    "a tab, a bell and a null": ("a\tb\x07\x00", r"a\tb\x07\x00"),
    "delete": ("a\x7f", r"a\x7f"),
    "reversed text": ("\u202e\u2066drowssap\u2069\u202c", r"\u202e\u2066drowssap\u2069\u202c"),
    "marks of direction": ("\u200e\u200f\u061c", r"\u200e\u200f\u061c"),
    "no width": ("a\u200bb\u200cc\u200dd\u2060e\ufefff", r"a\u200bb\u200cc\u200dd\u2060e\ufefff"),
    "hidden tags": ("a\U000e0041\U000e007f", r"a\U000e0041\U000e007f"),
    "halves of characters": ("\ud83d \udc9b", r"\ud83d \udc9b"),
    "markup": ("[red]a[/red][link=http://evil.example]b[/link][/]:warning:", None),
    "an emoji's code": ("all is :white_check_mark: well", None),
    "unfinished markup": ("[/nothing", None),
}  # fmt: skip
LEGITIMATE = [
    "é", "漢字", "Zoë Ünal", r"C:\new\x1b", "עברית", "العربية",
    "हिन्दी", "ไทย", "한국어", "🚀", "👍🏽", "👨‍👩‍👧‍👦", "👩🏽‍⚕️", "🏳️‍🌈",
    "🇬🇧", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "1\u00a0000 €", "[a] {b} 'c' \"d\"",
]  # fmt: skip


def each_hostile(test: Callable[..., None]) -> Callable[..., None]:
    """Try a test with every hostile text and how it is to be shown."""
    cases = [pytest.param(text, text if shown is None else shown, id=name) for name, (text, shown) in HOSTILE.items()]
    parametrized: Callable[..., None] = pytest.mark.parametrize(("text", "shown"), cases)(test)
    return parametrized


# --- one text ---


@each_hostile
def test_what_a_terminal_would_obey_is_shown(text: str, shown: str) -> None:
    assert visible(text).startswith(shown)
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize("text", LEGITIMATE)
def test_all_other_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_no_control_that_unicode_knows_is_left_out() -> None:
    """A newer Python knows more of them, and the list has to follow."""
    unsafe = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert [
        hex(n) for n in range(0x110000) if unicodedata.category(chr(n)) in unsafe and visible(chr(n)) == chr(n)
    ] == []


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "é漢🚀"),
        ("ascii", r"\xe9\u6f22\U0001f680"),
        ("latin-1", r"é\u6f22\U0001f680"),
        ("cp932", r"\xe9漢\U0001f680"),
    ],
)
def test_what_a_terminal_cannot_show_is_shown_as_its_escape(encoding: str, shown: str) -> None:
    assert visible("é漢🚀", encoding) == shown


# --- what commands print ---

RUN = RunRecord("bills-20261121T023000Z", "bills", RunState.RUNNING, START, START, total=10, nonce="n")


def failing(text: str) -> Failure:
    return Failure(1, 0, ManifestEntry(text, {}), Outcome.REJECTED, 1, text, text, None, START, definite=True)


def a_result(text: str) -> Result:
    completed = {
        "total": 2,
        "outcomes": dict.fromkeys(Outcome, 0) | {Outcome.REJECTED: 2},
        "duplicates": 0,
        "clean": False,
        "generation": 1,
    }
    step = Step(text, Outcome.REJECTED, replace(RUN, id=text))
    record = replace(RUN, id=text, state=RunState.COMPLETE, reason=text)
    requests = {text: {"a": 1}}
    return Result(
        record, completed, 1, 2.0, [failing(text)], None, requests, 1, {text: 1}, {}, (step,), {text: {text: {}}}
    )


def a_standing(text: str) -> Standing:
    record = replace(RUN, id=text, reason=text)
    return Standing("dev", record, dict.fromkeys(Outcome, 1), (Held(1, text),))


def progress(text: str, console: Terminal) -> None:
    trouble = Trouble(text, "worker", text, in_a_row=1, seconds=1, never_worked=False, log=Path("log"))
    with show.RunProgress(console, quiet=False) as shown:
        shown.show(Look(text, RUN, 4, 12.0, [trouble], (Held(1, text),)))
        shown.tell(text)


def verification(text: str, console: Terminal) -> None:
    missing, wrong = Missing(0, text, Known.HELD), Inconsistency(Wrong.LINES, text, text)
    show.show_verification(console, Verification(replace(RUN, id=text), (missing,), (wrong,)))


SHOWN: dict[str, Callable[[str, Terminal], None]] = {
    "result": lambda text, console: show.show_result(console, a_result(text)),
    "failures": lambda text, console: terminal.wide(console).print(show.table_of([failing(text)], text)),
    "standing": lambda text, console: show.show_standing(console, a_standing(text), text),
    "jobs": lambda text, console: show.show_jobs(console, text, [(JobRecord(text), [a_standing(text)])]),
    "verification": verification,
    "summary": lambda text, console: show.show_summary(console, Verification(RUN, without=text)),
    "progress": progress,
}
#: What Rich itself sends: colours, and what its line of progress moves the cursor with. Nothing else is expected.
RICHS_OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\[(?:\?25[lh]|2K|1A|\d*[AG])|\r")


def output_of(command: Callable[[Terminal], None], *, encoding: str = "utf-8", on_terminal: bool = False) -> str:
    """What a command prints, without what Rich sends to a terminal by itself."""
    written = io.TextIOWrapper(io.BytesIO(), encoding, newline="")
    command(Terminal(file=written, width=1_000, force_terminal=on_terminal))
    written.seek(0)
    return RICHS_OWN.sub("", written.read()) if on_terminal else written.read()


def unsafe(output: str) -> list[str]:
    """Characters that should have been made visible."""
    return [ascii(char) for char in set(output) - {"\n"} if visible(char) != char]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("on_terminal", [True, False], ids=["terminal", "piped"])
@pytest.mark.parametrize("command", SHOWN)
def test_every_command_shows_it_as_text(command: str, on_terminal: bool, encoding: str) -> None:
    for text, shown in HOSTILE.values():
        output = output_of(partial(SHOWN[command], text), encoding=encoding, on_terminal=on_terminal)
        assert (text if shown is None else shown) in output
        assert unsafe(output) == []
        assert not any(line.startswith("run: complete") for line in output.splitlines())


@pytest.mark.parametrize("on_terminal", [True, False], ids=["terminal", "piped"])
@each_hostile
def test_what_is_no_string_when_it_is_printed_is_checked_as_well(text: str, shown: str, on_terminal: bool) -> None:
    """Rich's own Text is not made visible before it is measured, but when it is rendered."""
    del shown
    linked = Text(text, Style(link="http://evil.example"))
    table = Table("a column")
    table.add_row(linked)
    output = output_of(lambda console: console.print(linked, table), on_terminal=on_terminal)
    assert unsafe(output) == []


@pytest.mark.parametrize("command", SHOWN)
def test_every_command_leaves_other_text_alone(command: str) -> None:
    for text in LEGITIMATE:
        assert text in output_of(partial(SHOWN[command], text))


def test_progress_leaves_room_for_what_it_shows() -> None:
    hidden = "\x1b" * 20
    with_room = output_of(partial(progress, f"{hidden}the end"), on_terminal=True)
    assert f"{visible(hidden)}the end; " in with_room
    assert f"failed: {visible(hidden)}the end" in with_room


@pytest.mark.parametrize("width", [12, 40, 80])
def test_a_table_keeps_its_shape(width: int) -> None:
    written = io.StringIO()
    Terminal(file=written, width=width).print(show.table_of([failing(text) for text, _ in HOSTILE.values()]))
    assert len({len(line) for line in written.getvalue().splitlines()}) == 1


@each_hostile
def test_a_line_is_one_line(capsys: pytest.CaptureFixture[str], text: str, shown: str) -> None:
    print_line(text)
    print_line(text, stderr=True)
    for printed in capsys.readouterr():
        assert printed.startswith(shown)
        assert printed.count("\n") == 1


def test_a_quoted_text_looks_like_no_other_notice(capsys: pytest.CaptureFixture[str]) -> None:
    print_notice("cdk ended with 1: no\nrollcall: all is deployed\x1b[0m")
    assert capsys.readouterr().err == "rollcall: cdk ended with 1: no\n  rollcall: all is deployed\\x1b[0m\n"


@each_hostile
def test_json_is_exact_and_ascii(capsys: pytest.CaptureFixture[str], text: str, shown: str) -> None:
    del shown
    print_json({text: [text, "é漢字"]})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {text: [text, "é漢字"]}
    assert printed.removesuffix("\n").isascii()
    assert printed.removesuffix("\n").isprintable()


# --- what is written past all that ---


def test_a_traceback_a_warning_and_a_log_line_are_text_too() -> None:
    script = (
        "import logging, threading, warnings\n"
        "from tools.cli.terminal import guard_stderr\n"
        "guard_stderr()\n"
        "guard_stderr()\n"
        "def fail(text): raise ValueError(text)\n"
        "warnings.warn('\\x1b[31m')\n"
        "logging.getLogger('boto').warning('\\x1b[32m')\n"
        "thread = threading.Thread(target=fail, args=['\\x1b[33m'])\n"
        "thread.start()\n"
        "thread.join()\n"
        "fail('\\x1b[34m\\u202e')\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False, text=True)
    assert r"UserWarning: \x1b[31m" in ended.stderr
    assert "\n\\x1b[32m\n" in ended.stderr
    assert r"ValueError: \x1b[33m" in ended.stderr
    assert ended.stderr.endswith("ValueError: \\x1b[34m\\u202e\n")
    assert unsafe(ended.stderr) == []


def test_rich_writes_its_colours_past_the_guard(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", sys.stderr)
    monkeypatch.setenv("TERM", "xterm")
    guard_stderr()
    Terminal(stderr=True, force_terminal=True).print("a\x1b", style="bold")
    assert capsys.readouterr().err == "\x1b[1ma\\x1b\x1b[0m\n"


def test_what_is_written_under_a_line_of_progress_is_no_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich takes the standard streams while it shows progress, and reads escapes in them as styles of its own."""
    written = io.StringIO()
    console = Terminal(file=written, force_terminal=True)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", io.StringIO())
    with show.RunProgress(console, quiet=False):
        for stream in (sys.stdout, sys.stderr):
            stream.write("\x1b]0;owned\x07\x1b]8;;http://evil.example\x1b\\here\x1b]8;;\x1b\\\x1b[2J\x9b2J\n")
    output = RICHS_OWN.sub("", written.getvalue())
    assert "here" in output
    assert "evil.example" not in output
    assert "\x1b" not in output
    assert "\x9b" not in output


@pytest.mark.parametrize(
    "environ", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_a_terminal_of_another_encoding_is_no_reason_to_fail(environ: dict[str, str]) -> None:
    """In the C locale Python would write a lone surrogate as the byte that it stands for: 0x9b begins a sequence."""
    script = (
        "from tools.cli.terminal import Terminal, print_line\n"
        "from rich.table import Table\n"
        "table = Table('\\xe9')\n"
        "table.add_row('\\u6f22\\udc9b')\n"
        "Terminal().print(table)\n"
        "print_line('\\xe9\\udc9b31m')\n"
        "print_line('\\xe9\\udc9b31m', stderr=True)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, check=True)
    assert rb"\u6f22\udc9b" in ended.stdout
    assert rb"\xe9\udc9b31m" in ended.stdout
    assert ended.stderr == rb"\xe9\udc9b31m" + b"\n"
    assert (ended.stdout + ended.stderr).isascii()


# --- nothing is printed elsewhere ---

#: Where commands are; what prints in `terminal` is tested above.
COMMANDS = sorted(
    {*(ROOT / "tools/cli").glob("*.py"), *(ROOT / "tools/deploy_local").glob("*.py")} - {Path(terminal.__file__)}
)
#: Modules of Rich that print nothing by themselves.
QUIET = {"rich.progress", "rich.table"}
ECHOES = {"echo", "secho", "prompt", "confirm", "from_markup", "from_ansi", "basicConfig", "StreamHandler"}
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def printing(source: str) -> list[str]:
    """What in a module prints without the terminal."""
    return [found for node in ast.walk(ast.parse(source)) if (found := _printing(node)) is not None]


def _printing(node: ast.AST) -> str | None:
    match node:
        case ast.Call(func=ast.Name(id="print" | "input" | "Console" as name)):
            return name
        case ast.Call(func=ast.Attribute(attr=name)) if name in ECHOES:
            return name
        case ast.Attribute(value=ast.Name(id="sys"), attr=name) if name in STREAMS:
            return f"sys.{name}"
        case ast.Attribute(value=ast.Name(id="os"), attr="write" | "system" as name):
            return f"os.{name}"
        case ast.ImportFrom(module="sys", names=names):
            return next((f"sys.{each.name}" for each in names if each.name in STREAMS), None)
        case ast.ImportFrom(module=str(module)) if module.split(".")[0] in {"rich", "click"} and module not in QUIET:
            return module
        case ast.Import(names=names):
            return next((each.name for each in names if each.name.split(".")[0] in {"rich", "click"}), None)
        case ast.Call(func=ast.Name(id="Progress"), args=[_, _, *_], keywords=options):
            return None if "console" in {each.arg for each in options} else "Rich's own console"
        case ast.Call(func=ast.Attribute(attr="exit") | ast.Name(id="SystemExit"), args=[ast.JoinedStr() | ast.Call()]):
            return "exit with a text"
        case ast.keyword(arg="markup" | "emoji", value=ast.Constant(value=True)):
            return "markup"
    return None


@pytest.mark.parametrize("module", COMMANDS, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_a_module_prints_by_the_terminal_alone(module: Path) -> None:
    assert printing(module.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "print(1)", "Console().print(1)", "from rich.console import Console", "import rich", "from rich import print",
        "from rich.text import Text", "sys.stderr.write('a')", "from sys import stdout", "typer.echo('a')",
        "os.write(1, b'a')", "sys.exit(f'a {error}')", "raise SystemExit(str(error))",
        "console.print('a', markup=True)", "logging.basicConfig()", "import click",
        "Progress(BarColumn(), TextColumn('a'))", "sys.__stderr__.write('a')",
    ],
)  # fmt: skip
def test_a_module_that_prints_otherwise_is_found(source: str) -> None:
    assert printing(source)
