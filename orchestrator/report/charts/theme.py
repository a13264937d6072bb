"""What charts look like on the light card, on the dark card and on paper."""

from typing import Any

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif'
LIGHT_CARD, DARK_CARD = "#ffffff", "#1a1e21"  # as in report.css
# The series' colours on the dark card, of the same hues as the light card's: chosen by search, at least 5:1 against it
# and as far apart for readers with full colour vision, protanopia, deuteranopia and tritanopia alike.
_ON_DARK = {
    "#3066dc": "#917afd", "#9d9706": "#c9df5f", "#c68171": "#d08279", "#3f7603": "#8e952e", "#815a8e": "#f448ba",
    "#129fd4": "#5ec0fc", "#c22d5d": "#fcc6da", "#868d96": "#c3cad1", "#70777f": "#a5abb1",
}  # fmt: skip
_LEAST_CONTRAST = 4.5


def on_dark(colour: str) -> str:
    """A series' colour on the dark card; of one that is no palette's, mixed with white as far as it needs."""
    if colour in _ON_DARK:
        return _ON_DARK[colour]
    share = next(
        (s / 20 for s in range(20) if contrast(_lighter(colour, s / 20), DARK_CARD) >= _LEAST_CONTRAST), 1.0
    )
    return _lighter(colour, share)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2 measures it, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    values = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _lighter(colour: str, share: float) -> str:
    """Mixed with a share of white."""
    parts = (round(v + (255 - v) * share) for v in (int(colour[at : at + 2], 16) for at in (1, 3, 5)))
    return "#" + "".join(f"{part:02x}" for part in parts)


def _theme(card: str, ink: str, muted: str, line: str) -> dict[str, Any]:
    text = {"labelColor": muted, "titleColor": ink, "labelFontSize": 11.5, "titleFontSize": 11.5}
    axis = text | {
        "titleFontWeight": 500,
        "domainColor": line,
        "tickColor": line,
        "gridColor": line,
        "gridOpacity": 0.7,
        "titlePadding": 8,
        "labelPadding": 6,
        "tickSize": 4,
    }
    return {
        "background": card,
        "font": FONT,
        "padding": {"left": 4, "right": 12, "top": 26, "bottom": 4},
        "view": {"stroke": None},
        "axis": axis,
        "axisY": {"minExtent": 34},
        "legend": text
        | {
            "titleFontWeight": 500,
            "symbolSize": 90,
            "columnPadding": 18,
            "labelLimit": 230,
            "offset": 14,
            "layout": {"bottom": {"direction": "vertical", "anchor": "start", "margin": 10}},
        },
        "title": {
            "color": ink,
            "fontSize": 15,
            "fontWeight": 600,
            "subtitleColor": muted,
            "subtitleFontSize": 12,
        },
        "text": {"fontSize": 11.5, "color": muted},
        "point": {"strokeWidth": 1.6},
    }


THEMES = {
    "light": _theme(LIGHT_CARD, "#1c2024", "#5c636b", "#dfe1dc"),
    "dark": _theme(DARK_CARD, "#e7eaec", "#a3abb3", "#343b40"),
}
