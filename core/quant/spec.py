"""What is quantized and how: the typed value behind labels such as `4w4a`, `2w` and `fp`."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.errors import BadInput

Bits = Annotated[int, Field(ge=2, le=8)]
Ends = Literal["eight_bits", "full_precision"]

_LABEL = re.compile(
    r"(?:(?P<w>\d+)w)?(?:(?P<a>\d+)a)?(?:-(?!fpends$)(?P<quantizer>[a-z_]+))?(?P<ends>-fpends)?"
)


class QuantSpec(BaseModel):
    """Bits of weights and activations (None: full precision), the quantizer, and the two outer layers.

    `ends` says what the first convolution and the classifier get when weights are quantized:
    8 bits (the LSQ convention) or full precision (the published Q-MUL code).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight_bits: Bits | None = None
    activation_bits: Bits | None = None
    quantizer: str = "lsq_plus"
    ends: Ends = "eight_bits"

    @property
    def label(self) -> str:
        """A short name that `QuantSpec.parse` reads back: `4w4a`, `2w`, `8a-pact`, `4w4a-fpends`, `fp`."""
        if not self.quantizes:
            return "fp"
        bits = f"{self.weight_bits}w" if self.weight_bits else ""
        bits += f"{self.activation_bits}a" if self.activation_bits else ""
        bits += "" if self.quantizer == "lsq_plus" else f"-{self.quantizer}"
        return bits + ("" if self.ends == "eight_bits" else "-fpends")

    @property
    def quantizes(self) -> bool:
        """True if anything at all is quantized."""
        return self.weight_bits is not None or self.activation_bits is not None

    @classmethod
    def parse(cls, label: str) -> "QuantSpec":
        """Reads a label; raises BadInput for one that is malformed or asks for bits outside 2-8."""
        if label == "fp":
            return cls()
        match = _LABEL.fullmatch(label)
        if match is None or not (match["w"] or match["a"]):
            raise BadInput(f"quantizers: '{label}' is not a setting; write 4w4a, 2w, 8a, 4w4a-lsq_plus or fp")
        bits = {name: int(match[name]) if match[name] else None for name in ("w", "a")}
        for value in bits.values():
            if value is not None and not 2 <= value <= 8:
                near = min(max(value, 2), 8)
                raise BadInput(
                    f"quantizers: '{label}' asks for {value} bits; valid are 2-8 (nearest: {near})"
                )
        return cls(
            weight_bits=bits["w"],
            activation_bits=bits["a"],
            quantizer=match["quantizer"] or "lsq_plus",
            ends="full_precision" if match["ends"] else "eight_bits",
        )
