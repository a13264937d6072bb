"""The charts as files, drawn without a browser: SVG, PNG and PDF."""

import json
from collections.abc import Callable
from typing import Any

from orchestrator.report.charts.page import Charts, Shown
from orchestrator.report.charts.theme import THEMES
from tasks.store import Store

FOLDER = "report/charts"
WIDTH, WIDE = 560, 1060  # pixels of a chart


def drawing(charts: Charts, shown: Shown) -> dict[str, Any]:
    """A chart of the page with its rows, at a width of its own, on white and under its title."""
    spec: dict[str, Any] = json.loads(json.dumps(charts.specs[shown.name]))
    width = WIDE if shown.chart.wide else WIDTH
    (columns,) = (param for param in spec["params"] if param["name"] == "columns")
    columns["value"] = max(1, width // charts.legend)
    if spec.get("width") == "container":
        spec["width"] = width
    title = {"text": shown.chart.title, "subtitle": shown.where, "anchor": "start", "offset": 24}
    return spec | {"title": title, "datasets": charts.data[shown.problem], "config": THEMES["light"]}


def write_charts(store: Store, charts: Charts) -> list[str]:
    """Writes every chart of a report to report/charts/ of the store in each format; returns the files' names."""
    import vl_convert as convert

    formats: dict[str, Callable[[dict[str, Any]], bytes]] = {
        "svg": lambda spec: convert.vegalite_to_svg(spec).encode(),
        "png": lambda spec: convert.vegalite_to_png(spec, scale=2),
        "pdf": convert.vegalite_to_pdf,
    }
    written = []
    for shown in charts.all:
        spec = drawing(charts, shown)
        for ending, draw in formats.items():
            name = f"{FOLDER}/{shown.file}.{ending}"
            store.put(name, draw(spec))
            written.append(name)
    return written
