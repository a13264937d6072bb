"""What to say where the packages are not: the standard library alone, and nothing that an older Python cannot read."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMANDS = ("-m", "grid.py", "unlearn-grid")  # what `sys.argv` begins with when the command line starts
_WAYS = (
    "start it with the environment's own python (.venv/bin/python); on Ray either give the job its packages "
    """(ray job submit --runtime-env-json '{"pip": "requirements.lock"}' ...), or start Ray with the environment """
    "first on PATH (PATH=/path/to/.venv/bin:$PATH ray start --head)"
)


@contextmanager
def packages_are_there() -> Iterator[None]:
    """Around the first imports: for the command line one line and exit code 2 in the place of a traceback."""
    try:
        if sys.version_info < (3, 11):  # noqa: UP036  (pip refuses it, Ray does not)
            raise ModuleNotFoundError
        yield
    except ModuleNotFoundError as error:
        if Path(sys.argv[0]).name not in _COMMANDS:
            raise
        print(f"error: {missing(error.name)}", file=sys.stderr)
        raise SystemExit(2) from None


def missing(module: str | None) -> str:
    """What is missing in which interpreter, and the two ways to mend it. module: None if Python itself is too old."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    what = f"no module '{module}'" if module else "too old, 3.11 is needed"
    return f"{sys.executable} (Python {version}): {what}; {_WAYS}"
