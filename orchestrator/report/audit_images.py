"""What an audit kept of each image, and its pictures: ROC curves, histograms, margins before and after, exposed images.

Pictures are SVG in the page's own colours, without scripts.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from core.metrics.audit import ATTACKS
from orchestrator.report.audits import AuditLine, AuditTable
from orchestrator.report.svg_plot import LEAST, Plot
from tasks.nodes import AUDIT
from tasks.store import Corrupt, Store

Arrays = dict[str, np.ndarray]
_MOST = 10  # exposed images that are shown


@dataclass(frozen=True)
class Exposed:
    """A forgotten image that models give away: its number in the training images, picture, accuracy and margins."""

    number: int
    picture: str
    u_lira: float
    original: float
    unlearned: float
    retrained: float


@dataclass(frozen=True)
class AuditPictures:
    """title, SVG of each figure, and the most exposed images by method."""

    figures: list[tuple[str, str]]
    exposed: list[tuple[str, list[Exposed]]]


def audit_pictures(table: AuditTable, store: Store) -> AuditPictures:
    """The pictures of one problem's audits, of those whose files can be read."""
    kept = [(line, arrays) for line in table.lines if not line.hole and (arrays := _kept(line.key, store))]
    figures = [(title, svg) for title, svg in _figures(kept) if svg]
    exposed = [(line.title, _exposed(arrays)) for line, arrays in kept if "u_lira" in arrays]
    return AuditPictures(figures, exposed)


def _kept(key: str, store: Store) -> Arrays | None:
    try:
        with np.load(io.BytesIO(store.read(key, AUDIT)), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (Corrupt, ValueError, OSError):
        return None


def _figures(kept: Sequence[tuple[AuditLine, Arrays]]) -> Iterable[tuple[str, str]]:
    for name, attack in ATTACKS.items():
        if attack.roc and any(f"roc_{name}" in arrays for _, arrays in kept):
            yield f"{attack.title}: true against false positives", _roc(f"roc_{name}", kept)
    if any("u_lira" in arrays for _, arrays in kept):
        yield "Images by U-LiRA's accuracy, %", _histogram(kept)
    for line, arrays in kept:
        if line.cell.method != "original":
            yield f"{line.title}: margins after against before, and Retrain's (grey)", _scatter(line, arrays)


_RATES = (0.001, 0.01, 0.1, 1.0)


def _roc(name: str, kept: Sequence[tuple[AuditLine, Arrays]]) -> str:
    plot = Plot((LEAST, 1), (LEAST, 1), log=True)
    plot.line(
        [(LEAST, LEAST), (1, 1)], "currentColor", "no trace", 'stroke-dasharray="3 3" stroke-opacity="0.5"'
    )
    for line, arrays in kept:
        if name in arrays:
            plot.line(map(tuple, arrays[name]), line.colour, line.title)
    methods = ", ".join(line.title for line, arrays in kept if name in arrays)
    return plot.svg(("False positives", _RATES), ("True positives", _RATES), f"ROC curves of {methods}")


def _histogram(kept: Sequence[tuple[AuditLine, Arrays]]) -> str:
    edges = np.linspace(0, 100, 21)
    counted = [
        (line, np.histogram(arrays["u_lira"], edges)[0]) for line, arrays in kept if "u_lira" in arrays
    ]
    top = float(max(counts.max() for _, counts in counted))
    plot = Plot((0, 100), (0, top))
    for line, counts in counted:
        steps = [(edge, count) for k, count in enumerate(counts) for edge in edges[k : k + 2]]
        plot.line(steps, line.colour, line.title)
    words = f"Histogram of {', '.join(line.title for line, _ in counted)}"
    return plot.svg(("Accuracy, %; 50: a coin", (0, 25, 50, 75, 100)), ("Images", (0, top)), words)


def _scatter(line: AuditLine, arrays: Arrays) -> str:
    before, after, retrained = (arrays[name] for name in ("original", "unlearned", "retrained"))
    everything = np.concatenate([before, after, retrained])
    low, high = (float(value) for value in (np.floor(everything.min()), np.ceil(everything.max())))
    plot = Plot((low, high), (low, high))
    plot.dots(zip(before, retrained, strict=True), "gray")
    plot.dots(zip(before, after, strict=True), line.colour)
    ticks = (low, 0.0, high) if low < 0 < high else (low, high)
    words = f"Margins of forgotten images after {line.title} and in Retrain against those in the original"
    return plot.svg(("Margin in the original", ticks), ("Margin after", ticks), words)


def _exposed(arrays: Arrays) -> list[Exposed]:
    """The images that most give away: by U-LiRA, and among equal ones by how far their margins have moved apart."""
    apart = np.abs(arrays["unlearned_median"] - arrays["retrained_median"])
    order = np.lexsort((-apart, -arrays["u_lira"]))[:_MOST]
    shown: dict[int, np.ndarray] = {}
    if "pictures" in arrays:
        shown = dict(zip(arrays["pictured"].tolist(), arrays["pictures"], strict=True))
    return [
        Exposed(
            int(arrays["image"][k]),
            _png(shown[int(arrays["image"][k])]) if int(arrays["image"][k]) in shown else "",
            *(
                float(arrays[name][k])
                for name in ("u_lira", "original", "unlearned_median", "retrained_median")
            ),
        )
        for k in order
    ]


def _png(image_CHW: np.ndarray) -> str:
    """A picture as a data URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image_CHW.transpose(1, 2, 0)).astype(np.uint8)).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
