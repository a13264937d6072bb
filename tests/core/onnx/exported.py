"""Exported networks and their parts, for the tests beside this."""

from functools import cache

import onnx
import torch

from core.onnx import ExportedNetwork, export_onnx
from core.onnx.session import session
from core.quant import QuantSpec
from tests.core.toy_problem import PLAIN, toy_images, toy_model

COUNT = 16  # images of a batch


@cache
def toy_batch(count=COUNT, seed=3):
    """Normalised images that no calibration saw."""
    return PLAIN.normalise(toy_images(count, seed).pixels)


def exported(model, **options):
    """The bytes of a model's file."""
    return export_onnx(model, toy_batch(), **options)


def graph_of(data):
    return onnx.load_from_string(data).graph


def constants(data):
    """Constants of a file as arrays, by name."""
    return {each.name: onnx.numpy_helper.to_array(each) for each in graph_of(data).initializer}


def nodes(data):
    """Nodes of a file by the name of what they give."""
    return {node.output[0]: node for node in graph_of(data).node}


def metadata(data):
    return {each.key: each.value for each in onnx.load_from_string(data).metadata_props}


def run(data, images):
    """Logits by onnxruntime as it comes."""
    with torch.no_grad():
        return ExportedNetwork(data)(images)


def run_as_written(data, images):
    """Logits by onnxruntime without any optimisation."""
    (found,) = session(data, 1, optimised=False).run(None, {"images": images.contiguous().numpy()})
    return torch.from_numpy(found)


def network(arch, label):
    return toy_model(arch, QuantSpec.parse(label))


def relative(a, b):
    """The largest difference, relative to the largest magnitude."""
    return float((a - b).abs().max() / b.abs().max())
