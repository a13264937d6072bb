"""A small panel with two axes as SVG, in the page's own text colour: for pictures that need no script."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from math import log10

WIDTH, HEIGHT, LEFT, BOTTOM, MARGIN = 340, 240, 48, 40, 14
LEAST = 1e-3  # a rate below it stands at the edge of logarithmic axes


class Plot:
    """A panel with axes. x, y: from, to; log: both are rates on logarithmic axes."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], *, log: bool = False) -> None:
        change: Callable[[float], float] = (lambda v: log10(max(v, LEAST))) if log else float
        self._change = change
        self._x, self._y = tuple(map(change, x)), tuple(map(change, y))
        self.parts: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point."""
        across, up = (
            (self._change(value) - low) / ((high - low) or 1)
            for value, (low, high) in ((x, self._x), (y, self._y))
        )
        return LEFT + across * (WIDTH - LEFT - MARGIN), (HEIGHT - BOTTOM) * (1 - up) + MARGIN * up

    def line(self, points: Iterable[tuple[float, float]], colour: str, name: str, style: str = "") -> None:
        """A line through points; its name is told on hovering."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6" {style}>'
            f"<title>{escape(name)}</title></polyline>"
        )

    def dots(self, points: Iterable[tuple[float, float]], colour: str) -> None:
        """Marks at points."""
        for x, y in (self.at(*point) for point in points):
            self.parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}" fill-opacity="0.55"/>'
            )

    def svg(self, x: tuple[str, Sequence[float]], y: tuple[str, Sequence[float]], words: str) -> str:
        """The picture, with titles and ticks of both axes. words: for who does not see it."""
        ticks = [self._tick(value, across=True) for value in x[1]] + [
            self._tick(value, across=False) for value in y[1]
        ]
        middle = (HEIGHT - BOTTOM) / 2
        titles = (
            f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x[0])}</text>'
            f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">{escape(y[0])}</text>'
        )
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="{escape(words)}" '
            f'font-size="11" fill="currentColor" font-family="inherit">'
            f"{''.join(ticks)}{titles}{''.join(self.parts)}</svg>"
        )

    def _tick(self, value: float, *, across: bool) -> str:
        """A line through the panel and its number, of the horizontal axis or of the vertical one."""
        x, y = self.at(value, value)
        bottom, right = HEIGHT - BOTTOM, WIDTH - MARGIN
        ends = (x, x, MARGIN, bottom) if across else (LEFT, right, y, y)
        place = (x, bottom + 14, "middle") if across else (LEFT - 4, y + 4, "end")
        return (
            '<line x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}" stroke="currentColor" stroke-opacity="0.12"/>'
            '<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{:g}</text>'
        ).format(*ends, *place, value)
