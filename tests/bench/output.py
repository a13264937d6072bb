"""Results as a terminal table, as JSON with every raw time, and as a Markdown page."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from inspect import cleandoc
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.bench.machine import Facts
from tests.bench.measure import Comparison, Target

JSON_FILE, PAGE = "results.json", "RESULTS.md"
COLUMNS = ("variant", "median", "min", "max", "rate", "ratio", "n", "target")
NUMBERS = COLUMNS[1:-1]
About = Mapping[str, Callable[..., object]]


def duration(seconds: float) -> str:
    """Three significant digits in the unit that reads best."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if abs(seconds) >= size:
            return f"{seconds / size:#.3g}".rstrip(".") + f" {unit}"
    return f"{seconds / 1e-6:#.3g}".rstrip(".") + " µs"


def cells(found: Comparison, variant: str) -> tuple[str, ...]:
    """One row of any table, without the title."""
    times, rate, ratio = found.per_unit(variant), found.rate(variant), found.ratio(variant)
    aimed_at = found.target is not None and found.target.variant == variant
    return (
        variant,
        f"{duration(found.median(variant))}/{found.unit}",
        duration(min(times)),
        duration(max(times)),
        "" if rate is None else f"{rate:,.0f} {found.item}/s",
        "" if ratio is None else f"{ratio:.2f} ×",
        str(len(times)),
        verdict(found) if aimed_at else "",
    )


def verdict(found: Comparison) -> str:
    """`≤ 10.0 ms more: met (1.20 ms more)`."""
    target, reached = found.target, found.reached()
    assert target is not None
    assert reached is not None
    return f"≤ {_amount(target, target.at_most)}: {'met' if found.met() else 'MISSED'} ({_amount(target, reached)})"


def _amount(target: Target, value: float) -> str:
    if target.of == "ratio":
        return f"{value:.2f} ×"
    return duration(value) + (" more" if target.of == "seconds more" else "")


def print_tables(results: list[Comparison], console: Console) -> None:
    """A table for each comparison."""
    for found in results:
        title = f"{found.benchmark.replace('_', ' ')}: {found.case}"
        table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
        for name in COLUMNS:
            table.add_column(name, justify="right" if name in NUMBERS else "left")
        for variant in found.seconds:
            table.add_row(*cells(found, variant))
        console.print(table)


def write(results: list[Comparison], machine: Facts, about: About, folder: Path) -> None:
    """Writes both files. about: the benchmarks by name; their docstrings say on the page what is measured."""
    document = {"machine": machine, "comparisons": [as_json(found) for found in results]}
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (folder / JSON_FILE).write_text(text + "\n", encoding="utf-8")
    page = "\n".join(_page(results, machine, about)) + "\n"
    (folder / PAGE).write_text(page, encoding="utf-8")


def as_json(found: Comparison) -> dict[str, object]:
    """Everything measured, and the figures drawn from it. seconds: of whole repetitions of `units` units."""
    summary = {
        variant: {
            "median": found.median(variant),
            "min": min(found.per_unit(variant)),
            "max": max(found.per_unit(variant)),
            "n": len(times),
            "rate": found.rate(variant),
            "ratio": found.ratio(variant),
        }
        for variant, times in found.seconds.items()
    }
    return {**asdict(found), "per_unit": summary, "reached": found.reached(), "met": found.met()}


def _page(results: list[Comparison], machine: Facts, about: About) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield "Written by `python -m tests.bench`; every single time is in `results.json`. The variants of a table take"
    yield "turns in one process; ratio is that of the medians, to the row without one. Times move with the machine"
    yield "and its load, ratios far less."
    yield ""
    yield from _markdown(
        ("measured on", ""), [(name.replace("_", " "), str(v)) for name, v in machine.items()]
    )
    for name in dict.fromkeys(found.benchmark for found in results):
        yield from ("", f"## {name.replace('_', ' ').capitalize()}", "", cleandoc(about[name].__doc__ or ""))
        for found in (r for r in results if r.benchmark == name):
            rows = [cells(found, variant) for variant in found.seconds]
            yield from ("", f"{found.case}:", "")
            yield from _markdown(COLUMNS, rows)


def _markdown(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"| {' | '.join('---:' if name in NUMBERS else '---' for name in header)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
