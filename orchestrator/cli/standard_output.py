"""Standard output that is missing, full, or no longer read (`| head`): no traceback, and an exit code that tells."""

import errno
import os
import sys
from contextlib import suppress
from io import UnsupportedOperation
from pathlib import Path
from typing import Any

SIGPIPE_CODE = 141  # what a shell gives for a program that wrote to a pipe nobody reads: 128 + SIGPIPE
UNWRITTEN = 2


def open_missing_streams() -> None:
    """Gives a process that was started without standard output or error (`>&-`) somewhere to write: nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  for the whole process
            setattr(sys, name, nowhere)


def flushed() -> OSError | None:
    """Writes what is left for standard output; what stands in the way, if anything does."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


def broken() -> OSError | None:
    """What is wrong with standard output, asked by writing an empty line; what was in its buffer may be lost by now."""
    try:
        sys.stdout.flush()
        os.write(sys.stdout.fileno(), b"\n")
    except UnsupportedOperation:  # a stream in memory cannot break
        return None
    except OSError as error:
        return error
    return None


def given_up(error: OSError) -> int:
    """The exit code after standard output broke; says so unless its reader simply had enough."""
    _write_nowhere(sys.stdout)
    if error.errno == errno.EPIPE:
        return SIGPIPE_CODE
    complain(f"standard output cannot be written ({error.strerror})")
    return UNWRITTEN


def complain(message: str) -> None:
    """One line on standard error, if anybody can read it."""
    with suppress(OSError):
        print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)


def _write_nowhere(stream: Any) -> None:
    """What is buffered can go nowhere; Python would try once more at its end, and complain."""
    with suppress(OSError, ValueError):  # a test's stream has no number
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
