"""Small datasets in the real formats of the publishers, written for the tests of core/data."""

import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.io import savemat

from core.data import DATASETS
from core.data.readers.source import Official

CIFAR10_BATCHES = (
    "data_batch_1",
    "data_batch_2",
    "data_batch_3",
    "data_batch_4",
    "data_batch_5",
    "test_batch",
)


def md5(data):
    return hashlib.md5(data).hexdigest()


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2's cPickle wrote at protocol 2: byte strings, numpy.core, flags as 0 and 1."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        raw = value if isinstance(value, bytes) else value.encode("latin1")
        short = len(raw) < 256
        head = (
            pickle.SHORT_BINSTRING + bytes([len(raw)])
            if short
            else pickle.BINSTRING + struct.pack("<i", len(raw))
        )
        self.write(head + raw)

    def save_flag(self, value):
        self.write(pickle.BININT1 + bytes([value]))

    def save_global(self, value, name=None):
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{name or value.__qualname__}\n".encode())

    dispatch[bytes] = dispatch[str] = save_string
    dispatch[bool] = save_flag


def python2_pickle(value):
    buffer = io.BytesIO()
    Python2Pickler(buffer, 2).dump(value)
    return buffer.getvalue()


def batch(rng, count, classes, key="labels"):
    rows = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
    return {
        "data": rows,
        key: [int(n) % classes for n in range(count)],
        "batch_label": "a batch",
        "filenames": ["x"],
    }


def cifar10_batches(count=20):
    rng = np.random.default_rng(0)
    return {name: batch(rng, count, 10) for name in CIFAR10_BATCHES}


def pickled(batches):
    return {name: python2_pickle(content) for name, content in batches.items()}


def tar_of(folder, files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def write_folder(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def mat(images_NHWC, labels):
    buffer = io.BytesIO()
    savemat(buffer, {"X": images_NHWC.transpose(1, 2, 3, 0), "y": np.asarray(labels, np.uint8)[:, None]})
    return buffer.getvalue()


def idx(values, dimensions=None):
    """An idx file of bytes: magic, sizes, values."""
    sizes = b"".join(struct.pack(">I", size) for size in values.shape)
    return bytes((0, 0, 8, dimensions or values.ndim)) + sizes + values.astype(np.uint8).tobytes()


def mnist(count=20, pixels=28):
    """The four unpacked files of a small MNIST by name; grey noise, labels 0, 1 … 9, 0 …"""
    rng, files = np.random.default_rng(0), {}
    for stem in ("train", "t10k"):
        files[f"{stem}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (count, pixels, pixels)))
        files[f"{stem}-labels-idx1-ubyte"] = idx(np.arange(count) % 10)
    return files


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def organamnist(count=22):
    """The six arrays of a small OrganAMNIST."""
    rng, arrays = np.random.default_rng(0), {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 11).astype(np.uint8)[:, None]
    return arrays


def encoded(image_HW, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(image_HW).save(buffer, kind)
    return buffer.getvalue()


def noise(rng, pixels, channels=3):
    shape = (pixels, pixels, channels) if channels == 3 else (pixels, pixels)
    return rng.integers(0, 256, shape, dtype=np.uint8)


def tiny_imagenet(wnids, train=2, val=1, pixels=64):
    """The files of a small tiny-imagenet-200, by their name below it; wnids.txt in the order given."""
    rng = np.random.default_rng(0)
    files = {
        "wnids.txt": "\n".join(wnids).encode(),
        "words.txt": b"unused",
        "test/images/test_0.JPEG": b"unused",
    }
    lines = []
    for wnid in wnids:
        for number in range(train):
            files[f"train/{wnid}/images/{wnid}_{number}.JPEG"] = encoded(noise(rng, pixels), "JPEG")
        for _ in range(val):
            files[f"val/images/val_{len(lines)}.JPEG"] = encoded(noise(rng, pixels, 1), "JPEG")
            lines.append(f"val_{len(lines)}.JPEG\t{wnid}\t0\t0\t63\t63\n")
    return {**files, "val/val_annotations.txt": "".join(lines).encode()}


def zip_of(folder, files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"{folder}/{name}", data)
    return buffer.getvalue()


def write_parquet(path, images, labels, image="img", label="label", **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = pa.array([{"bytes": data, "path": None} for data in images], kind)
    pq.write_table(pa.table({image: cells, label: labels, **more}), path)


def small_table(folder, count=20, pixels=32, classes=10, test="test"):
    """A training and a test shard of PNG noise; the decoded training images (N, 3, H, W)."""
    rng = np.random.default_rng(0)
    images = [noise(rng, pixels) for _ in range(count)]
    labels = [n % classes for n in range(count)]
    for split in ("train", test):
        path = folder / f"{split}-00000-of-00001.parquet"
        write_parquet(path, [encoded(image) for image in images], labels)
    return np.stack(images).transpose(0, 3, 1, 2)


def publish(monkeypatch, name, sums, urls=None, content=None):
    """Let `name` take these MD5 sums (file -> hex), addresses and sums of contents for the published ones."""
    info = DATASETS[name]
    urls = urls or {file: f"http://publisher.invalid/{file}" for file in sums}
    official = replace(info.sources[0], official=lambda: Official(sums, urls, content or {}))
    monkeypatch.setitem(DATASETS, name, replace(info, sources=(official, *info.sources[1:])))
