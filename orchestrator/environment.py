"""Where things live: the store, the data and the caches. The only reader of environment variables."""

import atexit
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from core.errors import BadInput
from orchestrator.spec import GridSpec
from tasks import Place
from tasks.executors import Group
from tasks.nodes import data_folders

STORE_VARIABLE, DATA_VARIABLE = "UNLEARN_GRID_STORE", "UNLEARN_GRID_DATA"
MACHINES_VARIABLE = "UNLEARN_GRID_MACHINES"
RAY_FOLDER, USUAL_FOLDER = "RAY_TMPDIR", "TMPDIR"  # where Ray puts sockets and logs, the first that is set
# bytes of a folder's path, so that those of Ray's sockets in it have the 107 that a socket allows
LONGEST_FOLDER = 107 - len("/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store")
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")
_ROOM = 1 << 20  # bytes that must go into such a folder
_CLUSTER_FILE = "ray_bootstrap_config.yaml"  # what `ray up` leaves in the home of the head


def inside_ray_job() -> bool:
    """Whether `ray job submit` started this process: its working folder vanishes with the cluster."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def ray_address() -> str | None:
    """The cluster this process was told to use, if any."""
    return os.environ.get("RAY_ADDRESS")


def store_uri(option: str | None, recipe: str) -> str:
    """The store: the option, else the environment's, else ./runs/<recipe>, which in a Ray job is ~/unlearn-grid.

    Raises BadInput for a relative path inside a Ray job, and for a Ray job on several nodes that names no
    store they share.
    """
    given = option or os.environ.get(STORE_VARIABLE)
    if given:
        if inside_ray_job() and "://" not in given and not _expanded(given).is_absolute():
            raise BadInput(
                f"store '{given}' is relative to a folder that vanishes with the cluster; "
                "give an absolute path or a URI"
            )
        return given if "://" in given else str(_expanded(given).absolute())
    if not inside_ray_job():
        return str(Path("runs", recipe).absolute())
    if _cluster_size() > 1:
        raise BadInput(
            f"a Ray job on several nodes needs a store that all of them reach: --store URI or {STORE_VARIABLE}"
        )
    return str(Path.home() / "unlearn-grid" / recipe)


def _cluster_size() -> int:
    """Live nodes of the Ray cluster this job runs on."""
    import ray

    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="ERROR")
    return sum(node["Alive"] for node in ray.nodes())


def machines_to_come() -> tuple[Group, ...]:
    """What the cluster's autoscaler may still start.

    From the environment, as machines x GPUs of each ("3x8"), else from the cluster file that `ray up` leaves
    on the head; empty where neither says anything.
    """
    said = os.environ.get(MACHINES_VARIABLE)
    if said:
        match = re.fullmatch(r"(\d+)x(\d+)", said.strip())
        if match is None:
            raise BadInput(f"{MACHINES_VARIABLE}='{said}': write machines x GPUs of each, such as 3x8")
        return (Group({"CPU": 1.0, "GPU": float(match[2])}, int(match[1])),)
    file = Path.home() / _CLUSTER_FILE
    if not file.exists():
        return ()
    try:
        return tuple(_groups(yaml.safe_load(file.read_text())))
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError):
        return ()  # Ray reads it too, and complains better


def _groups(cluster: dict[str, Any]) -> Iterator[Group]:
    """The worker types of a cluster file."""
    bound = int(cluster.get("max_workers", 2**31))
    for name, kind in cluster.get("available_node_types", {}).items():
        if name != cluster.get("head_node_type"):
            most = min(int(kind.get("max_workers", bound)), bound)
            yield Group(
                {k: float(v) for k, v in kind.get("resources", {}).items() if k in ("CPU", "GPU")}, most
            )


def make_room_for_ray() -> None:
    """Gives Ray and its processes a short temporary folder of this process's own where the machine's will not do.

    Ray puts sockets below RAY_TMPDIR, else TMPDIR; Python's own, of which Ray makes use, are below TMPDIR always.
    Raises BadInput, saying which variable to set, for a RAY_TMPDIR that will not do and where no folder does.
    """
    own, usual = os.environ.get(RAY_FOLDER), os.environ.get(USUAL_FOLDER) or "/tmp"
    fault = unfit(own) if own else None
    if fault:
        raise BadInput(f"{RAY_FOLDER}={own} {fault}: set it to a short path with room, such as /var/tmp")
    fault = unfit(usual)
    if fault:
        os.environ[USUAL_FOLDER] = own or _short_folder(f"{usual} {fault}")


def unfit(folder: str) -> str | None:
    """Why Ray cannot work in a folder, which is made if it is not there; None if it can."""
    if len(os.fsencode(folder)) > LONGEST_FOLDER:
        return f"is longer than the {LONGEST_FOLDER} bytes that leave room for Ray's sockets"
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM))
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    return None


def _short_folder(fault: str) -> str:
    """A new folder in a short place, which goes when this process ends."""
    place = next((place for place in _SHORT if unfit(place) is None), None)
    if place is None:
        raise BadInput(f"Ray finds no temporary folder ({fault}): set {RAY_FOLDER} to a short path with room")
    folder = tempfile.mkdtemp(prefix="ug-", dir=place)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def make_place(spec: GridSpec, store: str, compiled: frozenset[str] = frozenset()) -> Place:
    """Where workers find everything. Paths left to defaults are resolved on each worker.

    compiled: architectures whose training is compiled.
    """
    return Place(
        store=store,
        data_root=_absolute(spec.data.root or os.environ.get(DATA_VARIABLE)),
        cache=_absolute(spec.data.cache),
        download=spec.data.download,
        device=spec.resources.device,
        threads=spec.resources.threads,
        checkpoint_epochs=spec.resources.checkpoint_epochs,
        gpu_share=spec.resources.gpus_per_slot,
        compiled=compiled,
        must_compile=spec.resources.compile == "on",
        precision=spec.precision,
        weights={arch: file.path for arch, file in spec.weights.items()},
        code_revision=code_revision(),
    )


def data_folders_of(spec: GridSpec) -> tuple[Path, Path]:
    """Where the data sets of a grid and their decoded images lie on this machine."""
    return data_folders(
        _absolute(spec.data.root or os.environ.get(DATA_VARIABLE)), _absolute(spec.data.cache)
    )


def _absolute(path: str | None) -> str | None:
    return str(_expanded(path).absolute()) if path else None


def _expanded(path: str) -> Path:
    """A path with a home folder in the place of its `~`; BadInput for that of somebody who is not here."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise BadInput(
            f"{path}: there is no home folder {path.split('/')[0]}; write the whole path"
        ) from error


def code_revision() -> str:
    """The commit of this checkout (with + if files differ from it), else the installed version."""
    folder = Path(__file__).parent
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        try:
            return version("unlearn-grid")
        except PackageNotFoundError:
            return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
