"""An exported network, run by onnxruntime."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from core.onnx.graph import IMAGES
from core.onnx.libraries import onnxruntime


class ExportedNetwork(nn.Module):
    """Takes images and returns logits like the network that was exported, on the CPU; it cannot be trained."""

    def __init__(self, exported: bytes, threads: int = 1) -> None:
        super().__init__()
        self._session = session(exported, threads)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits, B x classes."""
        (logits_BK,) = self._session.run(None, {IMAGES: x_BCHW.contiguous().numpy()})
        return torch.from_numpy(logits_BK)


def session(exported: bytes, threads: int, *, optimised: bool = True) -> Any:
    """A session of onnxruntime on the CPU. optimised: as it comes; else node by node as the file has them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3  # errors; its warnings are about constants that it could have folded
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])


def runtime_version() -> str:
    """onnxruntime's, such as 1.32.0."""
    return str(onnxruntime.__version__)
