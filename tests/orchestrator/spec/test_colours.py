"""Colours that keep apart for every reader, by the simulation of Machado, Oliveira and Fernandes (2009)."""

import itertools

import numpy as np
import pytest

from core.unlearn import METHODS
from orchestrator.report.charts import theme
from orchestrator.report.charts.theme import DARK_CARD, LIGHT_CARD, on_dark
from orchestrator.spec.colours import colour_of, shape_of, styles
from orchestrator.spec.recipes import fidelity
from orchestrator.spec.specification import PAPER_METHODS
from orchestrator.spec.titles import ORIGINAL

LABELS = [ORIGINAL, *METHODS]
# What a reader sees of linear RGB, severity 1.
SIGHT = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}  # fmt: skip
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)


def linear(colour):
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* of linear RGB."""
    x = np.clip(rgb, 0, 1) @ XYZ.T / XYZ.sum(1)
    f = np.where(x > 216 / 24389, np.cbrt(x), (24389 / 27 * x + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one, other):
    light, dark = sorted((float(linear(c) @ XYZ[1]) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("card", [LIGHT_CARD, DARK_CARD])
@pytest.mark.parametrize("label", LABELS)
def test_every_method_is_seen_on_both_cards(label, card):
    assert contrast(colour_of(label), card) >= 3  # MLflow knows one colour for both


@pytest.mark.parametrize("label", LABELS)
def test_the_dark_card_has_colours_of_its_own(label):
    assert contrast(on_dark(colour_of(label)), DARK_CARD) >= 4.5
    assert on_dark(colour_of(label)) != colour_of(label)


@pytest.mark.parametrize("colour", ["#000000", "#123456", "#ffffff", "#0000ff"])
def test_a_colour_from_outside_is_lightened_until_it_is_seen(colour):
    assert theme.contrast(on_dark(colour), DARK_CARD) >= 4.5
    assert theme.contrast(colour, DARK_CARD) == pytest.approx(contrast(colour, DARK_CARD), rel=1e-3)


@pytest.mark.parametrize("card", [lambda colour: colour, on_dark], ids=["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_the_papers_methods_keep_apart_for_every_reader(sight, card):
    matrix = np.array(SIGHT[sight])
    seen = {name: lab(matrix @ linear(card(colour_of(name)))) for name in PAPER_METHODS}
    for one, other in itertools.combinations(PAPER_METHODS, 2):
        assert np.linalg.norm(seen[one] - seen[other]) >= 12, (one, other)


def test_no_two_methods_have_the_same_colour_and_mark():
    assert len({(colour_of(label), shape_of(label)) for label in LABELS}) == len(LABELS)


def test_a_variant_has_its_methods_colour_and_another_mark_and_line():
    labels = fidelity().methods
    found = styles(labels)
    assert list(found) == list(labels)
    assert len({(style.colour, style.shape) for style in found.values()}) == len(labels)
    for label in labels:
        method = label.partition(":")[0]
        assert found[label].colour == colour_of(method)
        assert (found[label].dash == ()) == (label == method)


def test_the_cards_are_the_pages():
    from importlib.resources import files

    css = files("orchestrator.report").joinpath("templates/report.css").read_text(encoding="utf-8")
    assert f"--card: {LIGHT_CARD}" in css
    assert f"--card: {DARK_CARD}" in css
