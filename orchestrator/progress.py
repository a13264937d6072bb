"""What a person sees while a grid runs: a live line on a terminal, a plain line every 30 seconds otherwise."""

import time
from collections import Counter
from collections.abc import Callable, Iterable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from orchestrator import words
from orchestrator.frontier import Frontier, State
from tasks.node import Node
from tasks.record import Record

_PLAIN_EVERY, _LIVE_EVERY = 30.0, 0.5  # seconds
_KINDS = ("data", "original", "retrain", "trial", "evaluate", "search", "select")


class Progress:
    """Counts per stage, what runs, ETA; failures are printed as they happen."""

    def __init__(self, console: Console, frontier: Frontier) -> None:
        self.console, self.frontier = console, frontier
        self._start = self._shown = time.monotonic()
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, running: Iterable[Node], eta: Callable[[], float]) -> None:
        """Shows the state if it is time to; cheap enough to call after every outcome."""
        if time.monotonic() - self._shown < (_LIVE_EVERY if self._live else _PLAIN_EVERY):
            return
        self._shown = time.monotonic()
        if self._live:
            text = Text("\n".join([self._line(eta()), *(f"  {n.words}" for n in running)]))
            self._live.update(text, refresh=True)
        else:
            self.console.print(self._line(eta()), highlight=False, markup=False, soft_wrap=True)

    def failure(self, node: Node, record: Record) -> None:
        """One line about a failed node."""
        text = f"failed {node.words}: {record.error_kind}: {record.error_message}"
        self.console.print(Text(text, style="red"), soft_wrap=True)

    def _line(self, eta: float) -> str:
        nodes = self.frontier.plan.nodes
        done = Counter(str(nodes[key].kind) for key in self.frontier.keys(State.DONE))
        known = self.frontier.plan.counts()  # searches add to it
        stages = " · ".join(f"{kind} {done[kind]}/{known[kind]}" for kind in _KINDS if kind in known)
        failed = self.frontier.count(State.FAILED)
        tail = f" · {failed} failed" if failed else ""
        tail += f" · about {words.duration(max(eta, 1))} left"
        return f"{words.duration(time.monotonic() - self._start)}: {stages}{tail}"
