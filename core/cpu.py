"""What this machine's processor multiplies natively beside float32, and how to tell whether that pays."""

import time
from collections.abc import Callable

import torch


def multiplies_bfloat16() -> bool:
    """Whether it multiplies bfloat16 (AVX512-BF16, AMX) rather than widen every number first."""
    return _able("avx512_bf16", "amx_bf16")


def multiplies_bytes() -> bool:
    """Whether it multiplies bytes and adds them up in 32 bits (VNNI, AMX), and torch has operators that do so."""
    return _able("avx512_vnni", "avx_vnni", "amx_int8") and hasattr(torch.ops.onednn, "qconv_pointwise")


def _able(*names: str) -> bool:
    able = torch.cpu.get_capabilities()
    built_in: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return built_in and any(able.get(name) for name in names)


def kind() -> list[str]:
    """What machines have in common on which a sum is divided, and so rounds, alike: processor and torch."""
    able = torch.cpu.get_capabilities()
    return [
        f"torch {torch.__version__}",
        *sorted(f"{k} {v}" for k, v in able.items() if not k.startswith("num_")),
    ]


def share_of_time(one: Callable[[], object], other: Callable[[], object], repeats: int = 10) -> float:
    """The processor time of one over the other's on one thread, of each the least of several that take turns.

    Processor time, because others may be at work on the machine.
    """
    threads, least = torch.get_num_threads(), [float("inf")] * 2
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            for repeat in range(repeats + 1):  # the first makes buffers
                for at, work in enumerate((one, other)):
                    start = time.thread_time()
                    work()
                    if repeat:
                        least[at] = min(least[at], time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    return least[0] / least[1]
