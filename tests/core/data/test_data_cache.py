"""The cache of decoded arrays: built once, by one process, whole or not at all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.data import cache as caching, load
from core.data.cache import MANIFEST, cached, digest
from core.data.readers.source import ARRAYS, Arrays
from core.errors import BadInput
from core.seal import unsealed
from tests.core.data_files import small_table


@pytest.fixture
def root(tmp_path):
    small_table(tmp_path / "cifar10")
    return tmp_path


@pytest.fixture
def cache(root):
    return root / "cache"


def entries(cache):
    return sorted(path for path in cache.iterdir() if path.is_dir())


def few():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (4, 3, 2, 2), dtype=np.uint8), np.arange(4)
    return Arrays(images, labels, images[:2], labels[:2])


def flip(path, place):
    """One bit, with everything else of the file as it was, its times included."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[place] ^= 16
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    caching._VERIFIED.clear()  # what a process has read whole, it trusts while sizes and times stay


def never():
    raise AssertionError("decoded again")


def test_decoded_once_with_a_manifest(root, cache):
    first = load("cifar10", root, cache=cache)
    (entry,) = entries(cache)
    assert entry.name.startswith("cifar10-")
    manifest = json.loads((entry / MANIFEST).read_text())
    assert manifest["digest"] == first.digest
    assert manifest["source"] == "parquet table"
    assert manifest["reader"] == "ParquetTable 1"
    assert manifest["classes"] == 10
    assert manifest["files"][0][0] == "cifar10/train-00000-of-00001.parquet"
    assert manifest["arrays"]["train_images"]["shape"] == [20, 3, 32, 32]
    assert {path.name for path in entry.iterdir()} == {f"{field}.npy" for field in ARRAYS} | {MANIFEST}
    times = {path: path.stat().st_mtime_ns for path in entry.iterdir()}
    assert load("cifar10", root, cache=cache).digest == first.digest
    assert {path: path.stat().st_mtime_ns for path in entry.iterdir()} == times


def test_the_default_lies_under_the_root(root):
    load("cifar10", root)
    assert len(entries(root / ".unlearn-grid-cache")) == 1


def test_a_slip_of_the_caller_does_not_reach_the_file(root, cache):
    load("cifar10", root, cache=cache).train_images.zero_()
    assert load("cifar10", root, cache=cache).train_images.any()


def test_changed_files_get_an_entry_of_their_own(root, cache):
    before = load("cifar10", root, cache=cache)
    small_table(root / "cifar10", count=30)
    assert len(load("cifar10", root, cache=cache).train_labels) == 30
    assert len(entries(cache)) == 2
    assert len(before.train_labels) == 20


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: (entry / MANIFEST).unlink(),
        lambda entry: (entry / MANIFEST).write_text("{"),
        lambda entry: (entry / MANIFEST).write_text("[]"),
        lambda entry: (entry / "test_labels.npy").unlink(),
        lambda entry: (entry / "train_images.npy").write_bytes(b""),
        lambda entry: (entry / "train_images.npy").write_bytes(
            (entry / "train_images.npy").read_bytes()[:-1]
        ),
        lambda entry: np.save(entry / "train_labels.npy", np.arange(20).reshape(2, 10)),
        lambda entry: np.save(entry / "train_labels.npy", np.arange(20, dtype=np.uint64)),
        lambda entry: flip(entry / "train_images.npy", 4000),
        lambda entry: flip(entry / "test_labels.npy", 200),
        lambda entry: flip(entry / MANIFEST, 90),
        lambda entry: flip(entry / MANIFEST, 400),
    ],
)
def test_a_damaged_entry_is_built_again(root, cache, damage):
    before = load("cifar10", root, cache=cache).digest
    (entry,) = entries(cache)
    damage(entry)
    after = load("cifar10", root, cache=cache)
    assert (after.digest, after.train_labels.tolist()) == (before, [n % 10 for n in range(20)])
    assert entries(cache) == [entry]
    cached(cache, "cifar10", identity_in(entry), never)


def identity_in(entry):
    manifest = unsealed((entry / MANIFEST).read_bytes())
    return {
        key: value for key, value in manifest.items() if key not in ("digest", "arrays", "mapping", "remarks")
    }


def test_a_failed_decode_leaves_nothing(cache):
    def fails():
        raise BadInput("no")

    with pytest.raises(BadInput, match=r"^no$"):
        cached(cache, "x", {}, fails)
    assert not entries(cache)
    assert len(cached(cache, "x", {}, few)[0].train_labels) == 4


def test_what_a_killed_process_left_is_cleared(cache):
    cached(cache, "x", {}, few)
    (entry,) = entries(cache)
    entry.rename(entry.with_name(f".{entry.name}.partial"))
    cached(cache, "x", {}, few)
    assert entries(cache) == [entry]


def test_an_entry_needs_no_permission_to_write(cache, monkeypatch):
    cached(cache, "x", {}, few)
    monkeypatch.setattr("core.data.cache.FileLock", never)
    assert cached(cache, "x", {}, never)[1] == digest(few())


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match=r"data cache .*file/cache cannot be written"):
        cached(tmp_path / "file/cache", "x", {}, few)


def test_the_digest_covers_values_shapes_and_types():
    arrays = few()
    changed = arrays.train_images.copy()
    changed[0, 0, 0, 0] ^= 1
    variants = [
        arrays,
        arrays._replace(train_images=changed),
        arrays._replace(train_images=arrays.train_images.reshape(4, 3, 4, 1)),
        arrays._replace(train_labels=arrays.train_labels.astype(np.uint64)),
        arrays._replace(test_images=arrays.train_images, train_images=arrays.test_images),
    ]
    assert len({digest(variant) for variant in variants}) == 5


BUILDER = """
import sys, time
from pathlib import Path
import numpy as np
from core.data.cache import cached
from core.data.readers.source import ARRAYS, Arrays

folder = Path(sys.argv[1])

def build():
    with (folder / "builds").open("a") as log:
        log.write("build\\n")
    time.sleep(0.5)
    images, labels = np.zeros((50, 3, 8, 8), np.uint8), np.arange(50)
    return Arrays(images, labels, images, labels)

(folder / sys.argv[2]).touch()
while not ((folder / "a").exists() and (folder / "b").exists()):
    time.sleep(0.001)
print(cached(folder / "cache", "x", {"one": 1}, build)[1])
"""


def test_two_processes_one_build(tmp_path):
    command = [sys.executable, "-c", BUILDER, str(tmp_path)]
    where = Path(__file__).parents[3]
    both = [
        subprocess.Popen([*command, name], cwd=where, stdout=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    printed = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert printed[0] == printed[1] != ""
    assert (tmp_path / "builds").read_text() == "build\n"
    assert [path.name[:2] for path in entries(tmp_path / "cache")] == ["x-"]
