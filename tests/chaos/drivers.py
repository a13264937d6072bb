"""Drivers of stub grids as processes of their own that can be killed; started in milliseconds.

One process imports everything once and forks a driver for every order, so that twenty deaths do not cost
twenty imports of torch.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Driver:
    """A running `orchestrator.grid`, its two streams in files."""

    def __init__(self, drivers: "Drivers", pid: int, output: Path) -> None:
        self._drivers, self.pid, self._output = drivers, pid, output
        self.code: int | None = None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal; nothing if it has ended."""
        if self.code is None:
            os.kill(self.pid, number)  # a zombie until it is waited for, so the number is still its own

    def wait(self) -> int:
        """Its exit code; negative for the signal that ended it."""
        if self.code is None:
            self.code = self._drivers.order({"wait": self.pid})
        return self.code

    @property
    def facts(self) -> dict[str, Any]:
        """What it printed as JSON."""
        found: dict[str, Any] = json.loads(self._output.read_text())
        return found

    @property
    def errors(self) -> str:
        """What it said beside."""
        return self._output.with_suffix(".err").read_text()


class Drivers:
    """Starts drivers. environment: for all of them, over this process's own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._count = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.drivers"],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Drivers":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def start(self, *arguments: str, verb: str = "run", **environment: str) -> Driver:
        """A driver with JSON output."""
        self._count += 1
        output = self._folder / f"driver{self._count}.out"
        order = {"start": [verb, "--json", *arguments], "output": str(output), "environment": environment}
        return Driver(self, self.order(order), output)

    def order(self, what: Mapping[str, Any]) -> int:
        """Gives an order and returns its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _serve() -> None:
    """Takes orders from standard input until it ends."""
    import orchestrator.cli.verbs  # noqa: F401
    from orchestrator import grid
    from tests.chaos import stub

    stub.install()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            os.environ.update(order["environment"])
            _become(order["start"], Path(order["output"]), grid.main)
        print(pid, flush=True)


def _become(arguments: Sequence[str], output: Path, main: Any) -> None:
    for number, file in ((1, output), (2, output.with_suffix(".err"))):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 1
    try:
        code = main(list(arguments))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
