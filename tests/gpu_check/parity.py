"""The first stage, in a process of its own: python -m tests.gpu_check.parity --out DIR --device cuda."""

import time
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from core.checkpoint import write_atomically
from tests.gpu_check.deviation import DRAWS, Item
from tests.gpu_check.ledger import Identity, Ledger, code_digest
from tests.gpu_check.method_items import method_items
from tests.gpu_check.quantizer_items import network_items, quantizer_items

RESULTS, PAGE = "parity.json", "parity.md"


def items(device: torch.device) -> Iterator[Item]:
    """Everything that is compared."""
    return chain(quantizer_items(device), network_items(device), method_items(device))


def check(out: Path, device: torch.device, only: str = "") -> bool:
    """Checks what no earlier visit has, and writes results and page; whether all of it agrees."""
    ledger = Ledger(out / RESULTS, identity(device))
    for item in items(device):
        if item.name not in ledger.entries and only in item.name:
            start = time.perf_counter()
            ledger.add(item.name, item.check() | {"seconds": round(time.perf_counter() - start, 3)})
    page = "\n".join(lines(ledger.entries, ledger.identity)) + "\n"
    write_atomically(out / PAGE, page.encode())
    apart = [name for name, found in ledger.entries.items() if not found["agrees"]]
    print(f"parity: {len(ledger.entries)} items, {len(apart)} of them apart", *apart, sep="\n  ")
    return not apart


def identity(device: torch.device) -> Identity:
    """What parity results must have in common."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {"device": name, "torch": torch.__version__, "code": code_digest("core", "tests/gpu_check")}


def lines(entries: Mapping[str, dict[str, Any]], of: Identity) -> Iterator[str]:
    """The Markdown page."""
    yield from ("# Parity with the CPU", "", f"{of['device']}, torch {of['torch']}, code {of['code']}.", "")
    yield "float32 is without TF32, cuDNN deterministic. Deviations are relative; each is that of the first draw"
    yield f"of {DRAWS} in which all are within their tolerances (`deviation.py` says why), or of the nearest."
    yield from ("", "| item | deviation (tolerance) | draws | verdict |", "|---|---|---:|---|")
    for name, found in entries.items():
        limits = found["tolerances"]
        words = ", ".join(f"{what} {found['deviations'][what]:.1e} ({limits[what]:.0e})" for what in limits)
        yield f"| {name} | {words} | {found['draws']} | {'agrees' if found['agrees'] else 'APART'} |"


def exactly_() -> None:
    """float32 that is float32, convolutions that repeat themselves, and no threads for tensors this small."""
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


def main() -> int:
    """The command."""
    parser = ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--only", default="", help="items whose names have this in them")
    given = parser.parse_args()
    exactly_()
    return 0 if check(given.out, torch.device(given.device), given.only) else 1


if __name__ == "__main__":
    raise SystemExit(main())
