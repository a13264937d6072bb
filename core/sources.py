"""Which of a node's names are of entries from outside, and whether they are what they were when it was planned."""

from collections.abc import Mapping
from typing import Any

from core.data import DATASETS
from core.errors import BadInput
from core.models import MODELS
from core.quant import QUANTIZERS, QuantSpec
from core.registry import Registry
from core.unlearn import METHODS

SOURCES, METHOD_SOURCE = "sources", "method_source"  # a node's inputs that hold digests


def sources_of(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The input `sources`: digests of the data set, network and quantizer from outside that a node's inputs name.

    Nothing where there are none, so that keys of grids without any are what they were.
    """
    named: dict[str, tuple[Registry[Any], str]] = {}
    if "dataset" in inputs:
        named["dataset"] = (DATASETS, inputs["dataset"])
    if "arch" in inputs:
        named["arch"] = (MODELS, inputs["arch"])
    if "quant" in inputs:
        named["quant"] = (QUANTIZERS, QuantSpec.parse(inputs["quant"]).quantizer)
    found = {what: all_.digest(name) for what, (all_, name) in named.items() if ":" not in name}
    digests = {what: digest for what, digest in found.items() if digest}
    return {SOURCES: digests} if digests else {}


def method_source(name: str) -> dict[str, Any]:
    """The input `method_source`: the digest of a method from outside; nothing for another."""
    digest = None if name == "original" else METHODS.digest(name)
    return {METHOD_SOURCE: digest} if digest else {}


def check_sources(inputs: Mapping[str, Any]) -> None:
    """Raises BadInput, one line, where an entry cannot be loaded here or has another source than was planned with."""
    expected: list[tuple[Any, str | None, Any]] = []
    if SOURCES in inputs:
        here = sources_of(inputs).get(SOURCES, {})
        expected += [(inputs[what], here.get(what), digest) for what, digest in inputs[SOURCES].items()]
    for part in (inputs, inputs.get("hook") or {}):
        if METHOD_SOURCE in part:
            expected.append((part["method"], METHODS.digest(part["method"]), part[METHOD_SOURCE]))
    for name, found, wanted in expected:
        if found != wanted:
            raise BadInput(
                f"'{name}' here is not what was planned with (source {str(found)[:12]}, not {wanted[:12]}): have the"
                " same files on every worker"
            )
