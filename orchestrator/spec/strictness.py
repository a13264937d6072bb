"""What a file of weights that networks start from does to Retrain, in the words of every report."""

from pathlib import PurePath

from orchestrator.spec.specification import GridSpec


def start_caveats(spec: GridSpec, arch: str) -> list[str]:
    """What a file that originals and Retrains start from does to the reference; nothing without one."""
    file = spec.weights.get(arch)
    if file is None:
        return []
    what = f"Retrain and the originals start from {PurePath(file.path).name} (SHA-256 {file.sha256[:12]}…)"
    if spec.weights_saw.get(arch) == "none":
        return [f"{what}, which saw none of the forget set, as the grid declares (weights_saw.{arch}=none)"]
    return [
        f"{what}: unless that file never saw the forget set this is no Retrain in the strict sense, and remembers too."
        f" If it never did, declare weights_saw.{arch}=none"
    ]


def strict(spec: GridSpec, arch: str) -> bool:
    """Whether Retrain never saw the forget set, as far as the grid says."""
    return arch not in spec.weights or spec.weights_saw.get(arch) == "none"
