"""A Ray cluster that starts machines when there is work for them and ends idle ones, all of it on this machine.

The machines are Ray's own make-believe ones. `ray.cluster_utils.AutoscalingCluster`, which would start them,
lacks a file in the released package, and ends every other Ray of the machine first.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.chaos.tracker_faults import free_port

HEAD = "ray.head.default"  # the only name that the provider knows
IDLE_MINUTES = 0.1


class AutoscalingCluster:
    """The cluster while the context lasts: a head without anything to work with, and up to so many GPU machines.

    file: the cluster file, which `ray up` would leave in the head's home.
    """

    def __init__(self, most: int, environment: dict[str, str]) -> None:
        from ray.util import get_node_ip_address

        self._folder = Path(tempfile.mkdtemp(prefix="ug-"))  # short: Ray puts sockets below it
        self.address = f"{get_node_ip_address()}:{free_port()}"
        self.file = self._folder / "ray_bootstrap_config.yaml"
        self.file.write_text(json.dumps(_cluster_file(self.address, most)))
        self._environment = {
            **os.environ,
            **environment,
            "RAY_AUTH_MODE": "disabled",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "0",  # the newer one reads the file that is lacking
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        }

    def __enter__(self) -> "AutoscalingCluster":
        command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
        command += ["--num-cpus=0", "--num-gpus=0", "--include-dashboard=false"]
        command += [f"--port={self.address.split(':')[1]}", f"--temp-dir={self._folder}"]
        command += [f"--dashboard-agent-listen-port={free_port()}", f"--autoscaling-config={self.file}"]
        self._process = subprocess.Popen(
            command,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self.wait_for(0, seconds=60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._session():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)

    def machines(self) -> int:
        """How many machines there are beside the head; -1 before there is a head."""
        return sum(_name(pid) == "raylet" for pid in self._session()) - 1

    def wait_for(self, count: int, seconds: float) -> None:
        """Until the cluster has so many machines beside its head."""
        deadline = time.monotonic() + seconds
        while (found := self.machines()) != count:
            assert time.monotonic() < deadline, f"{found} machines instead of {count} after {seconds:g} s"
            assert self._process.poll() is None, "the head has ended"
            time.sleep(0.2)

    def _session(self) -> list[int]:
        """Every process of the cluster: they change their groups, never their session."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with suppress(ProcessLookupError):
                    if os.getsid(int(entry.name)) == self._process.pid:
                        found.append(int(entry.name))
        return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _cluster_file(address: str, most: int) -> dict[str, object]:
    empty = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
    empty += ("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files")
    gpu = {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": most}
    return {
        "cluster_name": "autoscaling",
        "max_workers": most,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": IDLE_MINUTES,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "foreground_node_launch": True,  # or it counts those on their way twice, and starts a third
            "launch_multiple": True,
            "use_node_id_as_ip": True,  # they share one address
            "disable_node_updaters": True,  # nothing to set up on them
            "disable_launch_config_check": True,
        },
        "auth": {},
        "docker": {},
        "available_node_types": {
            HEAD: {"resources": {}, "node_config": {}, "max_workers": 0},
            "gpu": gpu,
        },
        "head_node_type": HEAD,
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        **{name: [] for name in empty},
    }
