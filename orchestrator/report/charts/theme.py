"""What charts look like on the light card, on the dark card and on paper."""

from typing import Any

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif'
LIGHT_CARD, DARK_CARD = "#ffffff", "#1a1e21"  # as in report.css


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
