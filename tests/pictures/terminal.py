"""Pictures of what the command line shows, from a real store: the very bytes it writes to a terminal, drawn by rich."""

import io
import os
import pty
import re
import struct
import sys
import termios
from fcntl import ioctl
from pathlib import Path
from subprocess import Popen

from rich.console import Console
from rich.text import Text

from orchestrator.plan.frontier import Frontier
from orchestrator.plan.grid_plan import make_plan
from orchestrator.results.known_grids import stored_grid
from orchestrator.run.progress import Progress, counts_of
from tasks.store.store import Store
from tests.browser import browser, page

WIDTHS = (80, 120)
_MOVES = re.compile(r"\x1b\[\??[0-9;]*[A-HJKSTfhl]")  # of the cursor; colours stay


def terminal_pictures(store: str, folder: Path) -> list[Path]:
    """PNG files in `folder`: plan, plan of the paper, status, report and a run half-way, 80 and 120 columns wide."""
    folder.mkdir(parents=True, exist_ok=True)
    views = {
        "plan": ["plan", "--store", store],
        "plan-full": ["plan", "--recipe", "full", "--store", f"{store}-of-the-paper"],
        "status": ["status", "--store", store],
        "report": ["report", "--store", store],
        "run": ["run", "--store", store, "--executor", "inline"],
        "help": ["--help"],
    }
    texts = {
        (name, width): output_of(arguments, width) for name, arguments in views.items() for width in WIDTHS
    }
    texts |= {("progress", width): progress_of(store, width) for width in WIDTHS}
    return drawn(texts, folder)


def output_of(arguments: list[str], width: int) -> str:
    """What a command writes to a terminal of a width, with its colours."""
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(width)}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "orchestrator.grid", *arguments]
    process = Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    found = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        found += part
    os.close(leader)
    process.wait()
    return _MOVES.sub("", found.decode()).replace("\r\n", "\n").replace("\r", "")


def progress_of(store: str, width: int) -> str:
    """The live region of the store's grid with a third of it done, two dozen nodes at work and two failed."""
    spec = stored_grid(Store(store))
    assert spec is not None
    plan = make_plan(spec.model_copy(update={"ratios": (0.1, 0.3, 0.5), "seeds": (1, 2)}))
    keys = list(plan.nodes)
    frontier = Frontier(plan, dict.fromkeys(keys, 1.0), keys[: len(keys) // 3])
    running = [node for _ in range(24) if (node := frontier.next_training(None, 1e9))]
    for node in running[:2]:
        frontier.fail(node.key)
    console = Console(width=width, force_terminal=True, color_system="256", record=True, file=io.StringIO())
    console.print(Progress(console, frontier).view(counts_of(frontier), running[2:], 5400.0))
    return console.export_text(styles=True)


def drawn(texts: dict[tuple[str, int], str], folder: Path) -> list[Path]:
    """Each text as a picture, through the machine's browser."""
    files = []
    with browser() as opened:
        for (name, width), text in texts.items():
            console = Console(width=width, record=True, file=io.StringIO())
            console.print(Text.from_ansi(text), soft_wrap=False)
            svg = console.export_svg(title=f"{name}, {width} columns")
            svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # which would come from the network
            with page(opened, 14 * width, 400) as sheet:
                sheet.set_content(f"<body style='margin:0'>{svg}</body>")
                file = folder / f"{name}-{width}.png"
                sheet.locator("svg").screenshot(path=str(file))
                files.append(file)
    return files
