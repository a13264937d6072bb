"""A grid as a tree: data set, network, forget set, method, each with what is in it and what is done."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.data import dataset_info
from core.unlearn import METHODS
from orchestrator.plan import Cell, Plan, expected
from orchestrator.plan.costs import CostModel
from orchestrator.spec import GridSpec, LimitSpec, base_name, titles
from tasks import TRAINING, Node

if TYPE_CHECKING:
    from rich.tree import Tree

LEVELS = ("grid", "dataset", "network", "forget set", "method")
MOST_LINES = 30  # of a printed tree
_SIGNS = 4  # characters that a level of the tree is indented by
_COLUMNS = (("cells", 10), ("nodes", 13), ("to do", 10))
_NUMBERS = sum(width for _, width in _COLUMNS)

_Step = tuple[str, ...]


@dataclass
class Branch:
    """A part of a grid. seconds: expected of one worker for what is left. nodes: with those of searches to come."""

    name: str
    cells: int = 0
    cells_done: int = 0
    nodes: int = 0
    done: int = 0
    seconds: float = 0.0
    children: dict[_Step, "Branch"] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The numbers of this part and, in order, of its parts."""
        numbers = {name: getattr(self, name) for name in ("name", "cells", "cells_done", "nodes", "done")}
        parts = [child.as_json() for child in self.children.values()]
        return numbers | {"hours": round(self.seconds / 3600, 4), "parts": parts}

    def level(self, depth: int) -> Iterator["Branch"]:
        """The branches so many levels below, this one being 0."""
        if depth == 0:
            yield self
            return
        for child in self.children.values():
            yield from child.level(depth - 1)


def make_tree(spec: GridSpec, plan: Plan, cost: CostModel, finished: Collection[str]) -> Branch:
    """The tree of a plan; what several parts share counts in the part that holds them all, or in the first."""
    root = Branch(spec.recipe)
    for cell, key in plan.cells.items():
        for branch in _walk(root, spec, _cell_path(cell)):
            branch.cells += 1
            branch.cells_done += key in finished
    for node in plan.nodes.values():
        done = node.key in finished
        to_come = 0 if done or node.kind != "search" else 2 * sum(parts for parts, _ in expected(node))
        counts = node.kind in TRAINING or node.kind == "search"
        seconds = cost.seconds(node) if counts and not done else 0.0
        for branch in _walk(root, spec, _path(node)):
            branch.nodes += 1 + to_come
            branch.done += done
            branch.seconds += seconds
    _sort_methods(root)
    return root


def _sort_methods(root: Branch) -> None:
    """The methods of each problem as the tables have them: variants behind their method."""
    rank = {name: number for number, name in enumerate(METHODS)}
    for problem in root.level(3):
        ordered = sorted(
            problem.children.items(),
            key=lambda one: (rank.get(base_name(one[0][0]), len(rank)), ":" in one[0][0]),
        )
        problem.children = dict(ordered)


def _walk(root: Branch, spec: GridSpec, path: Iterable[_Step]) -> Iterator[Branch]:
    """The branches from the root to the end of a path; they are made where they are missing."""
    yield root
    for depth, step in enumerate(path):
        found = root.children.get(step)
        if found is None:
            found = root.children[step] = Branch(_name(spec, depth, step))
        root = found
        yield root


def _cell_path(cell: Cell) -> list[_Step]:
    return [(cell.dataset,), (cell.arch, cell.quant), (cell.scenario, str(cell.amount)), (cell.method,)]


def _path(node: Node) -> list[_Step]:
    """Where a node belongs. An original's evaluation, which every method's reader needs, is the problem's."""
    i = node.inputs
    path: list[_Step] = [(i["dataset"],)]
    if "arch" in i:
        path.append((i["arch"], i["quant"]))
    if "scenario" in i:
        path.append((i["scenario"], str(float(i["amount"]))))
        if base_name(i["method"]) != titles.ORIGINAL:
            path.append((node.label or i["method"],))
    return path


def _name(spec: GridSpec, depth: int, step: _Step) -> str:
    if depth == 0:
        return f"{titles.title(step[0])} ({_images(spec, step[0])})"
    if depth == 1:
        return f"{titles.title(step[0])} {step[1]}"
    return titles.scenario(step[0], float(step[1])) if depth == 2 else titles.title(step[0])


def _images(spec: GridSpec, dataset: str) -> str:
    """`50,000 + 10,000 images`: training and test images that the grid uses; `all images` of a folder.

    How many those are nobody knows before the folder is read.
    """
    info, limit = dataset_info(dataset), spec.data.limit or LimitSpec()
    sizes = [(limit.train, info.train_size), (limit.test, info.test_size)]
    if info.train_size:
        return " + ".join(f"{min(most or size, size):,}" for most, size in sizes) + " images"
    known = [
        f"at most {most:,} {name}"
        for (most, _), name in zip(sizes, ("training", "test"), strict=True)
        if most
    ]
    return f"{', '.join(known) or 'all'} images"


def shown_depth(root: Branch) -> int:
    """How many levels are printed: as many as keep the tree within `MOST_LINES`, but always the data sets."""
    lines, depth = 1, 0
    while depth < len(LEVELS) - 1:
        more = sum(1 for _ in root.level(depth + 1))
        if lines + more > MOST_LINES and depth > 0:
            break
        lines, depth = lines + more, depth + 1
    return depth


def tree_view(root: Branch, width: int, depth: int) -> "Tree":
    """The tree for a terminal of a width in characters, numbers in columns; what is below `depth` in one line each."""
    from rich.text import Text
    from rich.tree import Tree

    named = max(_SIGNS * at + len(b.name) for at in range(depth + 1) for b in root.level(at))
    room = min(named + 2, width - _NUMBERS)
    heading = "".join(f"{name:>{size}}" for name, size in _COLUMNS)
    top = Text.assemble((" " * room + heading + "\n", "dim"), _label(root, room, 0))
    tree = Tree(top, guide_style="dim")
    fold = depth == LEVELS.index("network")  # forget sets are few and short: all of a network's in one line
    _grow(tree, root, room, depth, 1, fold)
    return tree


def _grow(tree: "Tree", branch: Branch, room: int, depth: int, at: int, fold: bool) -> None:
    from rich.text import Text

    for child in branch.children.values():
        below = tree.add(_label(child, room, at))
        if at < depth:
            _grow(below, child, room, depth, at + 1, fold)
        elif fold and child.children:
            parts = (f"{one.name} {_left(one)}" for one in child.children.values())
            below.add(Text(" · ".join(parts), "dim"))


def _label(branch: Branch, room: int, at: int) -> Any:
    from rich.text import Text

    name = branch.name[: room - _SIGNS * at - 1].ljust(room - _SIGNS * at)
    counts = (f"{branch.cells_done:,}/{branch.cells:,}", f"{branch.done:,}/{branch.nodes:,}", _left(branch))
    numbers = "".join(f"{text:>{size}}" for text, (_, size) in zip(counts, _COLUMNS, strict=True))
    style = "green" if branch.done == branch.nodes else "bold" if at == 0 else ""
    return Text(name + numbers, style, no_wrap=True, overflow="ellipsis")


def _left(branch: Branch) -> str:
    """`2.1 h`, or `done`."""
    return "done" if branch.done == branch.nodes else titles.duration(branch.seconds)
