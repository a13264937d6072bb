"""A private home, no cluster from the environment, and the settings under which nodes do their work."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch

from core.train.allocator import keep_freed_memory

ROOT = Path(__file__).parents[2]  # the repository, from which subprocesses and Ray's workers import
_FROM_OUTSIDE = ("RAY_ADDRESS", "UNLEARN_GRID_STORE", "UNLEARN_GRID_DATA", "MLFLOW_TRACKING_URI")


@contextmanager
def private_surroundings() -> Iterator[Path]:
    """An empty folder that is the home while the context lasts; the environment is as before afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        changes = {
            "HOME": folder,
            "XDG_CACHE_HOME": str(Path(folder, "cache")),
            "PYTHONPATH": os.pathsep.join(paths),
            "RAY_AUTH_MODE": "disabled",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        with patch.dict(os.environ, changes):
            for name in _FROM_OUTSIDE:
                os.environ.pop(name, None)
            yield Path(folder)


@contextmanager
def as_in_a_node() -> Iterator[None]:
    """One CPU thread, deterministic cuDNN and freed memory kept, as `tasks.nodes.dispatch.run_node` sets them."""
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    flags = (cudnn.deterministic, cudnn.benchmark)
    torch.set_num_threads(1)
    keep_freed_memory()
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cudnn.deterministic, cudnn.benchmark = flags


@contextmanager
def private_ray() -> Iterator[None]:
    """A Ray of our own on two CPUs; one that runs in this process already is used and left alone."""
    import ray

    if ray.is_initialized():
        yield
        return
    # "local": without it Ray would join a cluster that somebody else started on this machine
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()
