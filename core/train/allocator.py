"""Memory between two steps: on CPUs, glibc gives large blocks back to the system and asks for them again."""

import ctypes
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # names of malloc.h
_NEVER, _STEP, _LARGE, _LARGEST_ACCEPTED = 2**31 - 1, 2**28, 2**30, 2**25


@cache
def keep_freed_memory() -> bool:
    """Lets this process keep what it frees; False where the C library has no such switch (not glibc).

    Otherwise tens of thousands of pages are emptied and mapped anew in every training step. The process then
    stays as large as its largest moment, which a worker comes back to in every step anyway.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    mallopt(_TRIM_THRESHOLD, _NEVER)
    mallopt(_TOP_PAD, _STEP)
    return bool(mallopt(_MMAP_THRESHOLD, _LARGE) or mallopt(_MMAP_THRESHOLD, _LARGEST_ACCEPTED))
