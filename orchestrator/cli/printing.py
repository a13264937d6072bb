"""How the command line speaks: encodings that lack our signs, JSON for machines, facts in two columns."""

import codecs
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.cli.standard_output import open_missing_streams

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN = "unlearn-grid-plain"  # the name of our way to write a sign that an encoding lacks
_SIGNS = {
    "×": "x", "·": "-", "–": "-", "−": "-", "≈": "~", "±": "+-", "→": "->", "…": "...", "†": "+", "≤": "<=",
    "█": "#", "░": ".", "─": "-", "━": "-", "╸": "-", "│": "|", "├": "|", "└": "`", "✓": "v",
}  # fmt: skip
NAME_WIDTH = 13  # of the column of names, with its indent
_TIED, _BETWEEN, _SHORT_PART = "\u00a0", " · ", 30


def _plain_signs(error: UnicodeError) -> tuple[str, int]:
    """For `codecs`: what an encoding lacks in ASCII; a log file is no reason to fail."""
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(_SIGNS.get(sign, "?") for sign in lost), error.end


def speak_any_encoding() -> None:
    """From here on, what standard output and standard error cannot encode is written in ASCII."""
    open_missing_streams()
    codecs.register_error(_PLAIN, _plain_signs)
    for stream in (sys.stdout, sys.stderr):
        if not (stream.encoding or "").lower().startswith("utf") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_PLAIN)


def say_json(console: "Console", facts: Mapping[str, Any]) -> None:
    """Facts as one JSON document, with plain escapes where the encoding lacks a sign."""
    console.print_json(
        data=dict(facts), ensure_ascii=console.options.ascii_only, default=lambda v: v.as_json()
    )


def say_facts(console: "Console", rows: Mapping[str, str]) -> None:
    """Names and what they say, in two columns; long texts go on beneath themselves, short parts of lists stay whole."""
    from rich.text import Text

    for name, text in rows.items():
        lines = textwrap.wrap(_whole(text), max(console.width - NAME_WIDTH, 20), break_long_words=False) or [
            ""
        ]
        for number, line in enumerate(lines):
            label = f"  {name}" if number == 0 else ""
            row = Text.assemble((label.ljust(NAME_WIDTH), "dim"), line.replace(_TIED, " "))
            console.print(row, highlight=False, soft_wrap=True)


def _whole(text: str) -> str:
    """The text with the spaces tied at which a list such as `16: 5.6 h (79 % busy) · 32: 4.7 h` is not to break."""
    parts = text.split(_BETWEEN)
    tied = (part.replace(" ", _TIED) if len(part) <= _SHORT_PART else part for part in parts)
    return f"{_TIED}· ".join(tied) if len(parts) > 1 else text


def say_lines(console: "Console", rows: Iterable[tuple[str, str]]) -> None:
    """Names and commands or paths, never broken, so that they can be copied."""
    for name, text in rows:
        console.print(f"  {name:<{NAME_WIDTH - 2}}{text}", highlight=False, markup=False, soft_wrap=True)


def say_sentences(console: "Console", lines: Iterable[str], style: str = "") -> None:
    """Lines that go on indented beneath themselves; whole in a log file. What is indented already is never broken."""
    from rich.text import Text

    for line in lines:
        wrap = console.is_terminal and line and not line.startswith(" ")
        for part in textwrap.wrap(line, console.width, subsequent_indent="  ") if wrap else [line]:
            console.print(Text(part, style), soft_wrap=True, highlight=False)
