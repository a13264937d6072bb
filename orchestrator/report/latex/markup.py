"""The parts of LaTeX tables: text that is no command, rows in groups, labels."""

import re
from dataclasses import dataclass

HOLE = "--"
_SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "×": r"$\times$", "·": r"$\cdot$", "±": r"$\pm$", "≈": r"$\approx$", "−": r"$-$", "–": "--", "→": r"$\to$",
    "†": r"$\dagger$", "…": r"\ldots{}", "≤": r"$\leq$", "\n": " ",
}  # fmt: skip
_TITLES = {"l1-sparse": r"$\ell_1$-sparse"}  # as the paper writes it


@dataclass(frozen=True)
class Group:
    """Rows between two rules. first: labels that stand in their first row alone. rows: the cells after them."""

    first: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """Every row with all its cells."""
        blank = ("",) * len(self.first)
        return [(blank if number else self.first) + row for number, row in enumerate(self.rows)]


@dataclass(frozen=True)
class LatexTable:
    """One table environment. columns: its alignments; heads: its headings."""

    caption: str
    label: str
    columns: str
    heads: tuple[str, ...]
    groups: tuple[Group, ...]


def escape(text: str) -> str:
    """Text in which nothing is a command to LaTeX."""
    return "".join(_SIGNS.get(sign, sign) for sign in text)


def title_text(title: str) -> str:
    """A method's title, as the paper writes it where it does."""
    method, bracket, options = title.partition(" (")
    return _TITLES.get(method, escape(method)) + escape(bracket + options)


def label_of(*parts: str) -> str:
    """`tab:cifar10-resnet18`: letters, digits and dashes alone, which every package takes."""
    return "tab:" + re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower())
