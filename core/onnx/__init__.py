"""Networks as ONNX files: fake-quantized layers as integer codes, what runs such a file, and what compares the two.

Needs the extra `export`; everything else here works without it. Knows networks and quantizers, and neither data nor
methods.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from core.onnx.agreement import Agreement as Agreement, layer_by_layer as layer_by_layer
    from core.onnx.exporting import export_onnx as export_onnx
    from core.onnx.session import ExportedNetwork as ExportedNetwork, runtime_version as runtime_version
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
