"""The colour and mark of each method, the same in every chart, on paper and in MLflow."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from core.unlearn import METHODS
from orchestrator.spec.labels import base_name
from orchestrator.spec.titles import ORIGINAL

# Chosen by search: at least 3:1 against the page's light and dark cards, and as far apart as seven colours of that
# lightness can be for readers with full colour vision, protanopia, deuteranopia and tritanopia alike.
_COLOURS = ("#3066dc", "#9d9706", "#c68171", "#3f7603", "#815a8e", "#129fd4", "#c22d5d")
_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
_VARIANT_SHAPES = (  # names, or paths in Vega's unit square
    "triangle-right",
    "triangle-left",
    "M0,-1L0.95,-0.31L0.59,0.81L-0.59,0.81L-0.95,-0.31Z",  # pentagon
    "M0,-1.1L0.3,-0.35L1.05,-0.35L0.45,0.15L0.65,0.95L0,0.5L-0.65,0.95L-0.45,0.15L-1.05,-0.35L-0.3,-0.35Z",  # star
    "M-1,-0.6L-0.6,-1L0,-0.4L0.6,-1L1,-0.6L0.4,0L1,0.6L0.6,1L0,0.4L-0.6,1L-1,0.6L-0.4,0Z",  # saltire
    "M-1,0L-0.5,-0.87L0.5,-0.87L1,0L0.5,0.87L-0.5,0.87Z",  # hexagon
    "M-1,-0.8L1,-0.8L-1,0.8L1,0.8Z",  # hourglass
    "M-0.8,-1L0.8,1L0.8,-1L-0.8,1Z",  # bow tie
    "M0,-1L0.9,-0.1L0.9,0.9L-0.9,0.9L-0.9,-0.1Z",  # house
    "M-1,0.1L0,-0.9L1,0.1L1,0.9L0,-0.1L-1,0.9Z",  # chevron up
    "M-1,-0.1L0,0.9L1,-0.1L1,-0.9L0,0.1L-1,-0.9Z",  # chevron down
    "wedge",
)
_SOLID: tuple[int, ...] = ()
_DASHES = ((6, 3), (2, 2), (8, 3, 2, 3), (10, 4))
_ORIGINAL = ("#868d96", "M-1,-0.25L1,-0.25L1,0.25L-1,0.25Z")  # a lying bar


@dataclass(frozen=True)
class Style:
    """How a method looks in a chart: colour as #rrggbb, Vega's shape (a name or a path) and dashes of its line."""

    colour: str
    shape: str
    dash: tuple[int, ...]


def colour_of(label: str) -> str:
    """A method's or variant's colour as #rrggbb; a variant has its method's."""
    name = base_name(label)
    if name == ORIGINAL:
        return _ORIGINAL[0]
    return METHODS[name].colour or _COLOURS[_place(name) % len(_COLOURS)]


def shape_of(label: str) -> str:
    """A method's mark, a name or path for Vega, so that nothing hangs on colour alone.

    With the colour it is the method's alone for the first 42 methods; a variant's mark is no method's.
    """
    name, _, options = label.partition(":")
    if name == ORIGINAL:
        return _ORIGINAL[1]
    if options:
        return _VARIANT_SHAPES[crc32(options.encode()) % len(_VARIANT_SHAPES)]
    return METHODS[name].mark or _SHAPES[_place(name) % len(_SHAPES)]


def _place(name: str) -> int:
    """A method's number among those that leave their colour to the palette; any fixed one for a method from outside."""
    places = [known for known, method in METHODS.items() if method.colour is None]
    return places.index(name) if name in places else crc32(name.encode())


def styles(labels: Sequence[str]) -> dict[str, Style]:
    """The style of each label of a grid: variants of one method also differ among themselves, while marks last."""
    found: dict[str, Style] = {}
    counts: dict[str, int] = {}
    for label in labels:
        shape, dash = shape_of(label), _SOLID
        if ":" in label:
            number = counts.setdefault(base_name(label), 0)
            counts[base_name(label)] += 1
            taken = {style.shape for style in found.values() if style.colour == colour_of(label)}
            shape = (
                shape if shape not in taken else next((s for s in _VARIANT_SHAPES if s not in taken), shape)
            )
            dash = _DASHES[number % len(_DASHES)]
        found[label] = Style(colour_of(label), shape, dash)
    return found
