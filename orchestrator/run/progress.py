"""What a person sees while a grid runs: bars and running cells on a terminal, else a plain line every 30 seconds."""

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from types import MappingProxyType
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.plan import Frontier, State
from orchestrator.run.watch import RunningNodes, words
from orchestrator.spec import titles
from tasks import TRAINING, Node, Record
from tasks.store import SILENT, Running

_PLAIN_EVERY, _LIVE_EVERY = 30.0, 0.5  # seconds
# At most one part in so many of the driver's time goes into what is shown, and of a node's that waits for it.
_LEAST_SHARE, _OF_A_NODE = 20, 500
_WINDOW = 600.0  # seconds over which throughput is taken
_KINDS = ("data", "original", "retrain", "trial", "evaluate", "search", "select")
_SHOWN = 8  # running nodes listed
_BAR = 24  # characters


class Counts(NamedTuple):
    """Nodes of each kind: known so far, done, and at work. failed, blocked: of all kinds."""

    known: Counter[str]
    done: Counter[str]
    running: Counter[str]
    failed: int
    blocked: int


def counts_of(frontier: Frontier) -> Counts:
    """What a frontier knows, in one pass."""
    nodes = frontier.plan.nodes
    found = Counter((nodes[key].kind, state) for key, state in frontier.state.items())
    known: Counter[str] = Counter()
    done: Counter[str] = Counter()
    running: Counter[str] = Counter()
    for (kind, state), count in found.items():
        known[kind] += count
        done[kind] += count if state is State.DONE else 0
        running[kind] += count if state is State.RUNNING else 0
    failed, blocked = (
        sum(n for (_, s), n in found.items() if s is s_) for s_ in (State.FAILED, State.BLOCKED)
    )
    return Counts(known, done, running, failed, blocked)


class Rate:
    """Nodes an hour over the last minutes."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int]] = deque()

    def take(self, at: float, done: Counter[str]) -> None:
        """Notes at a time (seconds) how many nodes are done."""
        self._seen.append((at, sum(done.values()), done["trial"]))
        while at - self._seen[0][0] > _WINDOW:
            self._seen.popleft()

    @property
    def words(self) -> str:
        """`410 nodes/h, 182 trials/h`; nothing before a second has passed or anything was done."""
        (start, nodes, trials), (end, nodes_now, trials_now) = self._seen[0], self._seen[-1]
        if end - start < 1 or nodes_now <= nodes:
            return ""
        hour = 3600 / (end - start)
        text = f"{(nodes_now - nodes) * hour:,.0f} nodes/h"
        return text + (f", {(trials_now - trials) * hour:,.0f} trials/h" if trials_now > trials else "")


class Progress:
    """Counts per stage, what runs, how fast, ETA; failures are printed as they happen, above the rest."""

    def __init__(self, console: Console, frontier: Frontier) -> None:
        self.console, self.frontier = console, frontier
        self._start = time.monotonic()
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )
        self._next = self._start + (0.0 if self._live else _PLAIN_EVERY)
        self._rate = Rate()
        self._rate.take(self._start, counts_of(frontier).done)

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(
        self,
        running: Collection[Node],
        eta: Callable[[], float],
        look: Callable[[Collection[Node]], RunningNodes] = lambda _: {},
        *,
        meanwhile: bool = False,
    ) -> None:
        """Shows the state if it is time to; cheap enough to call after every outcome.

        look: what running nodes say of themselves, asked before the ETA. meanwhile: a node waits for this.
        """
        begun = time.monotonic()
        if begun < self._next:
            return
        counts = counts_of(self.frontier)
        self._rate.take(begun, counts.done)
        told = look(running)
        if self._live:
            self._live.update(self.view(counts, running, eta(), told), refresh=True)
        else:
            self._say([self._line(counts, eta()), *_lines(told)])
        # In a plan of a hundred thousand nodes a look takes long: then it is taken less often.
        share = (_OF_A_NODE if meanwhile else _LEAST_SHARE) * (time.monotonic() - begun)
        self._next = begun + max(_LIVE_EVERY if self._live else _PLAIN_EVERY, share)

    def _say(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def failure(self, node: Node, record: Record) -> None:
        """One line about a failed node, and where its log lies."""
        text = f"failed {node.words}: {record.error_kind}: {record.error_message}"
        log = f" ({record.log})" if record.log else ""
        self.console.print(Text.assemble((text, "red"), (log, "dim")), soft_wrap=True)

    def view(
        self, counts: Counts, running: Collection[Node], eta: float, told: RunningNodes = MappingProxyType({})
    ) -> RenderableType:
        """The live region: a bar for each stage, the summary, and as many running nodes as fit."""
        lines = 2 if told else 1  # of a node
        room = max(1, min(_SHOWN, (self.console.height - len(counts.known) - 5) // lines))
        return Group(_bars(counts), self._summary(counts, eta), *_running(running, room, told))

    def _summary(self, counts: Counts, eta: float) -> Text:
        parts = [self._elapsed(), self._rate.words, f"about {titles.duration(max(eta, 1))} left"]
        text = Text(" · ".join(part for part in parts if part), no_wrap=True, overflow="ellipsis")
        if counts.failed:
            blocked = f", {counts.blocked} blocked by them" if counts.blocked else ""
            text.append(f" · {counts.failed} failed{blocked}", "red")
        return text

    def _elapsed(self) -> str:
        return titles.duration(time.monotonic() - self._start)

    def _line(self, counts: Counts, eta: float) -> str:
        stages = (
            f"{kind} {counts.done[kind]}/{counts.known[kind]}" for kind in _KINDS if kind in counts.known
        )
        parts = [*stages, f"{counts.failed} failed" if counts.failed else "", self._rate.words]
        left = f"about {titles.duration(max(eta, 1))} left"
        return f"{self._elapsed()}: " + " · ".join(part for part in (*parts, left) if part)


def _bars(counts: Counts) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for justify in ("left", "left", "right", "left"):
        grid.add_column(justify=justify, no_wrap=True)
    for kind in (kind for kind in _KINDS if kind in counts.known):
        done, known, at_work = counts.done[kind], counts.known[kind], counts.running[kind]
        bar = ProgressBar(known, done, _BAR, complete_style="green", finished_style="green")
        grid.add_row(kind, bar, f"{done:,}/{known:,}", Text(f"{at_work} running" if at_work else "", "cyan"))
    return grid


def _running(nodes: Collection[Node], room: int, told: RunningNodes) -> Iterable[RenderableType]:
    """What is at work and how far, trainings first; the rest as a number."""
    ordered = sorted(nodes, key=lambda node: node.kind not in TRAINING)
    unknown = told.keys() - {node.key for node in nodes}
    at_work = {node.key: node.words for node in ordered} | {key: told[key].node for key in sorted(unknown)}
    for key, text in list(at_work.items())[:room]:
        yield Text(f"  {text}", "dim", no_wrap=True, overflow="ellipsis")
        if key in told:
            yield Text(f"    {words(told[key])}", _style(told[key]), no_wrap=True, overflow="ellipsis")
    if len(at_work) > room:
        yield Text(f"  + {len(at_work) - room} more", "dim")


def _style(told: Running) -> str:
    return "yellow" if told.silent > SILENT else "cyan"


def _lines(told: RunningNodes) -> list[str]:
    """For a log: every running node that has said how far it is, a few at most."""
    found = [f"  {each.node}: {words(each)}" for each in told.values()]
    more = [f"  + {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return [*found[:_SHOWN], *more]
