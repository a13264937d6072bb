"""Cluster files before `ray up` reads them: python -m orchestrator.cluster_file FILE."""

import re
import sys
from pathlib import Path

from core.errors import BadInput

MARK = "@EDIT"  # YAML gives @ no meaning: Ray and kubectl refuse a file that holds one


def check(file: Path) -> None:
    """Raises BadInput for a file that is missing, or that still holds examples in place of values."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cluster file {file}: {getattr(error, 'strerror', None) or 'is no text'}") from error
    marked = [_place(n, line) for n, line in enumerate(lines, 1) if MARK in line.split("#")[0]]
    if marked:
        raise BadInput(f"cluster file {file}: put your values at {MARK}, in line {', '.join(marked)}")


def _place(number: int, line: str) -> str:
    """A line for a person: its number, and the field it sets."""
    field = re.match(r"[\s-]*([\w./-]+):", line)
    return f"{number} ({field[1]})" if field else str(number)


def main(arguments: list[str]) -> int:
    """0, or 2 after one line on stderr."""
    try:
        if len(arguments) != 1:
            raise BadInput("which cluster file? make up FILE=clusters/aws.yaml")
        check(Path(arguments[0]))
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
