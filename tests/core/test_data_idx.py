"""MNIST and Fashion-MNIST: the four published idx files, compressed or unpacked."""

import gzip

import numpy as np
import pytest
import torchvision.datasets
from data_files import idx, md5, mnist, publish, write_folder

from core.data import DATASETS, load
from core.errors import BadInput

NAMES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
each_set = pytest.mark.parametrize("name", NAMES)


def compressed(files):
    return {f"{file}.gz": gzip.compress(data) for file, data in files.items()}


def put(monkeypatch, folder, name, files):
    """The files, and their sums as the published ones."""
    write_folder(folder, files)
    publish(monkeypatch, name, {file: md5(data) for file, data in files.items()})


def refused(name, root):
    with pytest.raises(BadInput) as caught:
        load(name, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@each_set
@pytest.mark.parametrize("layout", ["{folder}/raw", "{folder}", "{name}", "{name}/raw"])
@pytest.mark.parametrize("pack", [compressed, dict])
def test_every_layout_holds_the_same(monkeypatch, tmp_path, name, layout, pack):
    files = mnist()
    put(monkeypatch, tmp_path / layout.format(name=name, folder=NAMES[name]), name, pack(files))
    data = load(name, tmp_path)
    pixels = np.frombuffer(files[IMAGES], np.uint8, offset=16).reshape(20, 28, 28)
    for channel in range(3):
        assert np.array_equal(data.train_images[:, channel].numpy(), pixels)
    assert data.train_labels.tolist() == data.test_labels.tolist() == [n % 10 for n in range(20)]
    assert not np.array_equal(data.test_images[:, 0].numpy(), pixels)
    assert (data.source, data.classes, data.crop_padding, data.flip) == ("idx files", 10, 0, False)


def test_a_root_of_the_datasets_own_name(monkeypatch, tmp_path):
    put(monkeypatch, tmp_path / "MNIST/raw", "mnist", compressed(mnist()))
    assert len(load("mnist", tmp_path / "MNIST").train_labels) == 20
    with pytest.raises(BadInput, match="fashion_mnist is not under"):
        load("fashion_mnist", tmp_path / "MNIST")  # whose files have the same names


def test_three_files_are_no_dataset(monkeypatch, tmp_path):
    put(monkeypatch, tmp_path / "MNIST/raw", "mnist", mnist())
    (tmp_path / "MNIST/raw" / LABELS).unlink()
    assert f"mnist is not under {tmp_path}: looked for MNIST/raw/{IMAGES}[.gz]" in refused("mnist", tmp_path)


@each_set
def test_sums_and_addresses_are_those_of_torchvision(name):
    theirs = getattr(torchvision.datasets, NAMES[name])
    remotes = DATASETS[name].downloads
    assert [(r.file, r.md5) for r in remotes] == [(f"{NAMES[name]}/raw/{f}", s) for f, s in theirs.resources]
    assert [r.url for r in remotes] == [theirs.mirrors[0] + file for file, _ in theirs.resources]


def test_a_changed_compressed_file_is_refused_with_both_sums(monkeypatch, tmp_path):
    files = compressed(mnist())
    put(monkeypatch, tmp_path / "MNIST/raw", "mnist", files)
    path = tmp_path / "MNIST/raw" / f"{IMAGES}.gz"
    path.write_bytes(files[path.name][:-9])
    message = refused("mnist", tmp_path)
    assert all(
        part in message for part in (str(path), md5(files[path.name]), md5(path.read_bytes()), "by hand")
    )


def test_a_truncated_compressed_file_with_the_right_sum(monkeypatch, tmp_path):
    files = compressed(mnist())
    put(monkeypatch, tmp_path / "MNIST/raw", "mnist", files | {f"{IMAGES}.gz": files[f"{IMAGES}.gz"][:-9]})
    assert f"{IMAGES}.gz is not a readable .gz" in refused("mnist", tmp_path)


@pytest.mark.parametrize(
    ("file", "data", "complaint"),
    [
        (IMAGES, b"", "is not such an idx file (magic expected 00000803, found )"),
        (IMAGES, idx(np.zeros(20)), "is not such an idx file (magic expected 00000803, found 00000801)"),
        (
            LABELS,
            idx(np.zeros((2, 2, 2))),
            "is not such an idx file (magic expected 00000801, found 00000803)",
        ),
        (IMAGES, b"\0\0\x08\x03\0\0", "is damaged: it ends within its header"),
        (IMAGES, idx(np.zeros((20, 28, 28)))[:-1], "promises 20 × 28 × 28 = 15680 bytes and holds 15679"),
        (IMAGES, idx(np.zeros((20, 28, 28))) + b"x", "promises 20 × 28 × 28 = 15680 bytes and holds 15681"),
        (IMAGES, b"\0\0\x08\x03" + b"\xff" * 12, "and holds 0"),
        (IMAGES, idx(np.zeros((20, 32, 32))), "holds images of 32×32 px, expected 28×28"),
        (IMAGES, idx(np.zeros((19, 28, 28))), "holds 19 images, but"),
        (LABELS, idx(np.full(20, 10)), "row 0: label 10 is outside 0..9"),
        (LABELS, idx(np.arange(20)), "row 10: label 10 is outside 0..9"),
    ],
)
def test_a_file_of_something_else_is_named(monkeypatch, tmp_path, file, data, complaint):
    put(monkeypatch, tmp_path / "MNIST/raw", "mnist", {**mnist(), file: data})
    message = refused("mnist", tmp_path)
    assert complaint in message
    assert str(tmp_path / "MNIST/raw" / file) in message


def test_files_without_images(monkeypatch, tmp_path):
    put(monkeypatch, tmp_path / "MNIST/raw", "mnist", mnist(count=0))
    assert "a split without images" in refused("mnist", tmp_path)
