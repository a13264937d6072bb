"""Faults of the disk under a store: full for a while, read-only for a while."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.store.store import Store
from tests.chaos.audit import Finding
from tests.chaos.driver_faults import Expected, Scene
from tests.chaos.drivers import Drivers

DISK = 6_000_000  # bytes; a report is 1.2 million


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A small file system of its own; None where it cannot be mounted."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Writes until nothing more fits; returns the ballast."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        for size in (100_000, 4096, 512):
            try:
                while True:
                    os.write(file.fileno(), b"x" * size)
            except OSError:
                continue
    return ballast


def read_only(folder: Path, *, yes: bool) -> None:
    """Takes the right to write from everybody, or gives it back.

    The kernel refuses to take it while a file is open for writing: tried until there is a moment when none is.
    """
    command = ["mount", "-o", f"remount,{'ro' if yes else 'rw'}", str(folder)]
    deadline = time.monotonic() + 10
    while subprocess.run(command, capture_output=True).returncode and time.monotonic() < deadline:
        time.sleep(0.005)
    subprocess.run(command, check=True)  # once more, so that a refusal that stays is told


def disk_gone(drivers: Drivers, folder: Path, expected: Expected, fault: str, times: int) -> Finding | None:
    """The disk is full, or read-only, for a second, several times in a run; None where that cannot be done."""
    with small_disk(folder / "disk") as disk:
        if disk is None:
            return None
        scene = Scene(drivers, folder)
        scene.store = Store(str(disk / "store"))
        driver = scene.start()
        for number in range(times):
            scene.wait_for(5 + number * 60 // times)
            if fault == "full":
                ballast = fill(disk)
                time.sleep(1.0)
                ballast.unlink()
            else:
                read_only(disk, yes=True)
                time.sleep(1.0)
                read_only(disk, yes=False)
        assert driver.wait() == 0, driver.errors[-3000:]
        return scene.audit(f"disk {fault} for a second", times, expected, "writes are tried again for 60 s")
