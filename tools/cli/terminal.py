"""The operator's terminal: every text that a command prints passes through here and can only be read, never obeyed."""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from typing import IO, Any, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

#: What emoji consist of, as far as a joiner may stand between two of them.
_PICTURE = "\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
#: Unicode's controls and format characters (Cc, Cf), line and paragraph separators, lone surrogates, and letters that
#: have no picture. A terminal obeys some of them; the others make two texts look alike. A test compares the list with
#: the database of this Python.
_INVISIBLE = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180e"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff"
    "\U000e01f0-\U000e0fff"
)
_NOT_SENT = re.compile(
    # Left alone: a family of emoji, and the flag of a part of a country, which tag characters spell.
    f"(?P<emoji>(?<=[{_PICTURE}])\u200d(?=[{_PICTURE}])|\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{{3,6}}\U000e007f)"
    f"|[{_INVISIBLE}]"
)
#: Columns of a table that goes to a file or another program, where no terminal's width cuts it.
WIDTH_ELSEWHERE = 200


def visible(text: str, encoding: str = "utf-8") -> str:
    r"""Show what a terminal would obey or hide as its escape: ESC as `\x1b`, a line break as `\n`.

    A character that `encoding` has no bytes for is shown in the same way. All other text stays as it is, a backslash
    included, so that the result is for people and not to be read back.
    """
    shown = text if text.isascii() and text.isprintable() else _NOT_SENT.sub(_escaped, text)
    return shown if encoding.lower().startswith("utf") else shown.encode(encoding, "backslashreplace").decode(encoding)


def _escaped(found: re.Match[str]) -> str:
    return found["emoji"] or found[0].encode("unicode_escape").decode("ascii")


def visible_lines(text: str, encoding: str = "utf-8") -> str:
    """Show the text as `visible` does, but keep its line breaks."""
    return "\n".join(visible(line, encoding) for line in text.split("\n"))


class Terminal(Console):
    """Rich's console for texts of strangers: no markup, no emoji codes, no links, no control characters but its own.

    Strings are made visible before they are measured, so that tables keep their shape. Every segment is checked once
    more when it is rendered, whatever it was made from.
    """

    def __init__(
        self,
        *,
        stderr: bool = False,
        file: IO[str] | None = None,
        width: int | None = None,
        force_terminal: bool | None = None,
    ) -> None:
        """For `file`, or for one of the standard streams."""
        super().__init__(
            file=file or _own(sys.stderr if stderr else sys.stdout),
            width=width,
            force_terminal=force_terminal,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a Text of what may be printed of `text`. Rich calls this for every string."""
        return super().render_str(visible(text, self.encoding), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render into segments that hold nothing but printable text, beside Rich's own control segments."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else self._printable(segment)

    def _printable(self, segment: Segment) -> Segment:
        text, style, _ = segment
        if style is not None and style.link:
            style = style.update_link(None)
        return Segment(visible_lines(text, self.encoding), style)


def wide(console: Console) -> Console:
    """Return the console for a table, which is not cut to a terminal's width where the output is none."""
    return console if console.is_terminal else Terminal(file=console.file, width=WIDTH_ELSEWHERE)


def print_line(text: str, *, stderr: bool = False) -> None:
    """Print one line on a standard stream."""
    _write(sys.stderr if stderr else sys.stdout, text)


def print_notice(text: str) -> None:
    """Print a line of the command's own on standard error; what follows a line break is indented.

    So no text that is quoted in it can look like another line of the command.
    """
    first, *more = text.split("\n")
    for line in (f"rollcall: {first}", *(f"  {each}" for each in more)):
        print_line(line, stderr=True)


def print_json(fields: Mapping[str, Any]) -> None:
    """Print one line of JSON on standard output, in ASCII: JSON's own escapes stand for all other characters."""
    _write(sys.stdout, json.dumps(fields, ensure_ascii=True))


def _write(stream: TextIO, text: str) -> None:
    stream.write(visible(text, _encoding(stream)) + "\n")
    stream.flush()


def _encoding(stream: object) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


class Guarded:
    """A standard stream for what is written past this module: tracebacks, warnings, log lines of libraries."""

    def __init__(self, stream: TextIO) -> None:
        #: By this name Rich finds the stream behind another, to write its colours there.
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write the text with everything but its line breaks made visible."""
        self.rich_proxied_file.write(visible_lines(text, self.encoding))
        return len(text)

    def flush(self) -> None:
        """Write what the stream holds back."""
        self.rich_proxied_file.flush()

    @property
    def encoding(self) -> str:
        """The stream's own."""
        return _encoding(self.rich_proxied_file)

    def isatty(self) -> bool:
        """Never, so that nobody writes colours here: they would be shown as escapes."""
        return False


def guard_stderr() -> None:
    """Guard standard error for the rest of the process."""
    if not isinstance(sys.stderr, Guarded):
        sys.stderr = cast(TextIO, Guarded(sys.stderr))


def _own(stream: TextIO) -> TextIO:
    """The stream behind those that stand before it."""
    while (behind := getattr(stream, "rich_proxied_file", None)) is not None:
        stream = behind
    return stream
