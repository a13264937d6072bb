"""Cluster files before `ray up` reads them: python -m orchestrator.cluster_file FILE."""

import re
import sys
from pathlib import Path

from core.errors import BadInput

# In front of an example: every reader of YAML takes it, no region, host, image or claim has such a name.
MARK = "EDIT_"


def check(file: Path) -> None:
    """Raises BadInput for a file that is missing, or that still holds examples in place of values."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cluster file {file}: {getattr(error, 'strerror', None) or 'is no text'}") from error
    marked = [_place(n, line) for n, line in enumerate(lines, 1) if MARK in line.split("#")[0]]
    if marked:
        raise BadInput(
            f"cluster file {file}: put your values in the place of those that begin with {MARK}, "
            f"in line {', '.join(marked)}"
        )


def _place(number: int, line: str) -> str:
    """A line for a person: its number, and the fields or variables it sets."""
    field = re.match(r"[\s-]*([\w./-]+):\s", line)
    names = [field[1]] if field else re.findall(rf"(\w+)={MARK}", line)
    return f"{number} ({', '.join(names)})" if names else str(number)


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
