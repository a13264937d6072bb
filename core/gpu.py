"""Which GPU this machine has, asked of its driver: torch would say it too, after seconds of loading."""

import ctypes
import sys
from functools import cache

_DRIVER = "nvcuda" if sys.platform == "win32" else "libcuda.so.1"
_LONGEST = 256  # bytes of a name


@cache
def gpu_name() -> str | None:
    """The name of the first CUDA device that this process may use, as torch calls it; None where there is none."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return None
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_LONGEST)
    failed = (
        driver.cuInit(0)  # fails where there is a driver and no device
        or driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceGetName(name, _LONGEST, device)
    )
    return None if failed else name.value.decode()
