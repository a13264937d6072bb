"""What is quantized and how: the typed value behind labels such as `4w4a`, `2w-pact` and `fp`."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.errors import BadInput, unknown
from core.quant.registry import QUANTIZERS

Bits = Annotated[int, Field(ge=2, le=8)]
Ends = Literal["eight_bits", "full_precision"]
Granularity = Literal["tensor", "channel"]
Shortcuts = Literal["quantized", "full_precision"]
Blocks = Literal["standard", "released"]

DEFAULT = "lsq_plus"
RELEASED = "released"

_BITS = re.compile(r"(?:(?P<weight>\d+)w)?(?:(?P<activation>\d+)a)?")
_FLAGS: dict[str, tuple[str, str]] = {
    "perchannel": ("granularity", "channel"),
    "fpends": ("ends", "full_precision"),
    "fpshortcuts": ("shortcuts", "full_precision"),
    "releasedblocks": ("blocks", "released"),
}
_RELEASED_SET: dict[str, str] = {
    "quantizer": "lsq_released",
    **dict(_FLAGS[flag] for flag in ("fpends", "fpshortcuts", "releasedblocks")),
}


class QuantSpec(BaseModel):
    """Bits of weights and activations (None: full precision), the quantizer, and where it does not go.

    ends: what the first convolution and the classifier get: 8 bits (the LSQ convention) or full precision
    (the published Q-MUL code).
    granularity: whether a weight has one step or one for every output channel.
    shortcuts: whether the convolutions of ResNet's shortcuts are quantized like the others.
    blocks: the network's usual blocks, or those of the published Q-MUL code (ALGORITHMS 6.5), which leave
    ends and shortcuts in full precision.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight_bits: Bits | None = None
    activation_bits: Bits | None = None
    quantizer: str = DEFAULT
    ends: Ends = "eight_bits"
    granularity: Granularity = "tensor"
    shortcuts: Shortcuts = "quantized"
    blocks: Blocks = "standard"

    @property
    def label(self) -> str:
        """A short name that `QuantSpec.parse` reads back: `4w4a`, `2w-dsq-perchannel`, `4w8a-released`, `fp`.

        Bits, the quantizer if it is not LSQ+, then flags; `released` stands for the published set, which is
        the quantizer lsq_released, released blocks, and ends and shortcuts in full precision.
        """
        if not self.quantizes:
            return "fp"
        bits = f"{self.weight_bits}w" if self.weight_bits else ""
        bits += f"{self.activation_bits}a" if self.activation_bits else ""
        flags = [flag for flag, (field, value) in _FLAGS.items() if getattr(self, field) == value]
        if all(getattr(self, field) == value for field, value in _RELEASED_SET.items()):
            return "-".join([bits, *(f for f in flags if _FLAGS[f][0] not in _RELEASED_SET), RELEASED])
        return "-".join([bits, *([] if self.quantizer == DEFAULT else [self.quantizer]), *flags])

    @property
    def quantizes(self) -> bool:
        """True if anything at all is quantized."""
        return self.weight_bits is not None or self.activation_bits is not None

    @classmethod
    def parse(cls, label: str) -> "QuantSpec":
        """Reads a label.

        Raises BadInput for one that is malformed, names an unknown quantizer or flag, asks for bits that the
        quantizer does not take, or contradicts itself.
        """
        if label == "fp":
            return cls()
        first, *tokens = label.split("-")
        match = _BITS.fullmatch(first)
        if not first or match is None or "" in tokens or len(set(tokens)) < len(tokens):
            raise BadInput(
                f"quantizers: '{label}' is not a setting; write 4w4a, 2w, 8a-pact, 4w4a-dsq-perchannel, 4w8a-released"
                " or fp"
            )
        fields = _fields(label, tokens)
        bits = {f"{what}_bits": int(n) for what, n in match.groupdict().items() if n is not None}
        _check_bits(label, fields.get("quantizer", DEFAULT), bits)
        spec = cls.model_validate(bits | fields)
        spec.check()
        return spec

    def check(self) -> None:
        """Raises BadInput, naming both sides, where quantizer, bits and places do not go together."""
        QUANTIZERS[self.quantizer]  # BadInput unless there is one
        bits = {"weight_bits": self.weight_bits, "activation_bits": self.activation_bits}
        _check_bits(self.label, self.quantizer, {name: n for name, n in bits.items() if n is not None})
        if self.quantizes and self.blocks == "released":
            for field in ("ends", "shortcuts"):
                if getattr(self, field) != "full_precision":
                    raise BadInput(
                        f"quantizers: '{self.label}' has blocks=released and {field}={getattr(self, field)}, which"
                        f" contradict each other; released blocks go with {field}=full_precision (fp{field})"
                    )


def _fields(label: str, tokens: list[str]) -> dict[str, Any]:
    """The fields that the words after the bits set: perhaps a quantizer first, then flags."""
    names, flags = tokens[:1], tokens
    fields: dict[str, Any] = {}
    if names and names[0] not in (*_FLAGS, RELEASED):
        fields["quantizer"], flags = QUANTIZERS.canonical(names[0]), tokens[1:]
        if "." not in fields["quantizer"] and fields["quantizer"] not in QUANTIZERS:
            raise unknown("quantizer or flag", names[0], [*QUANTIZERS.names(), *_FLAGS, RELEASED])
    for flag in flags:
        if flag == RELEASED:
            _check_released(label, fields.get("quantizer"))
            fields |= _RELEASED_SET
        elif flag in _FLAGS:
            field, value = _FLAGS[flag]
            fields[field] = value
        else:
            raise unknown("flag", flag, [*_FLAGS, RELEASED])
    return fields


def _check_released(label: str, quantizer: str | None) -> None:
    meant = _RELEASED_SET["quantizer"]
    if quantizer not in (None, meant):
        raise BadInput(
            f"quantizers: '{label}' names {quantizer}, but released means {meant}; leave one of them out"
            " (blocks alone: fpends-fpshortcuts-releasedblocks)"
        )


def _check_bits(label: str, quantizer: str, bits: dict[str, int]) -> None:
    valid = QUANTIZERS[quantizer].bits
    for name, value in bits.items():
        if value not in valid:
            near = min(valid, key=lambda n: abs(n - value))
            raise BadInput(
                f"quantizers: '{label}' asks for {value} {name.replace('_', ' ')}; {quantizer} takes"
                f" {valid[0]}-{valid[-1]} (nearest: {near})"
            )
