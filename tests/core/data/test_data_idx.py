"""MNIST and Fashion-MNIST: the four published idx files, compressed or unpacked."""

import gzip

import numpy as np
import pytest
import torchvision.datasets

from core.data import DATASETS, load
from core.errors import BadInput
from tests.core.data_files import idx, md5, mnist, publish, write_folder

NAMES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
each_set = pytest.mark.parametrize("name", NAMES)


def compressed(files):
    return {f"{file}.gz": gzip.compress(data) for file, data in files.items()}


def put(monkeypatch, folder, name, files, content=None):
    """The files, and their sums as the published ones. content: unpacked, as published."""
    write_folder(folder, files)
    sums = {file: md5(data) for file, data in (content or mnist()).items()}
    publish(monkeypatch, name, {file: md5(data) for file, data in files.items()}, content=sums)


def refused(name, root):
    with pytest.raises(BadInput) as caught:
        load(name, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@each_set
@pytest.mark.parametrize("layout", ["{folder}/raw", "{folder}", "{name}", "{name}/raw", "{dashed}"])
@pytest.mark.parametrize("pack", [compressed, dict])
def test_every_layout_holds_the_same(monkeypatch, tmp_path, name, layout, pack):
    files = mnist()
    put(
        monkeypatch,
        tmp_path / layout.format(name=name, folder=NAMES[name], dashed=name.replace("_", "-")),
        name,
        pack(files),
    )
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


def test_the_contents_sums_are_everybodys():
    """Of the files that torchvision's sums are of, unpacked; Debian's recompressed ones hold the same."""
    for name in NAMES:
        content = DATASETS[name].sources[0].official().content
        assert list(content) == [
            file.removesuffix(".gz") for file, _ in getattr(torchvision.datasets, NAMES[name]).resources
        ]
        assert all(len(bytes.fromhex(found)) == 16 for found in content.values())


COUNTS = "20 training and 20 test images, officially 60,000 and 10,000"


def test_what_somebody_else_compressed_is_the_same_file(monkeypatch, tmp_path):
    files = compressed(mnist())
    put(monkeypatch, tmp_path / "MNIST/raw", "mnist", files)
    again = {name: gzip.compress(gzip.decompress(data), 1, mtime=0) for name, data in files.items()}
    assert again != files
    write_folder(tmp_path / "MNIST/raw", again)
    assert load("mnist", tmp_path).remarks == (COUNTS,)


@pytest.mark.parametrize("pack", [compressed, dict])
def test_another_content_is_read_and_said_to_be_another(monkeypatch, tmp_path, pack):
    other = {**mnist(), LABELS: idx((np.arange(20) + 1) % 10)}
    put(monkeypatch, tmp_path / "MNIST/raw", "mnist", pack(other))
    data = load("mnist", tmp_path)
    assert data.train_labels.tolist() == [(n + 1) % 10 for n in range(20)]
    path = tmp_path / "MNIST/raw" / next(iter(pack({LABELS: b""})))
    sums = f"md5 published {md5(mnist()[LABELS])}, found {md5(other[LABELS])}"
    assert data.remarks == (f"{path} is not the published file ({sums})", COUNTS)
    assert load("mnist", tmp_path).remarks == data.remarks  # from the cache, too


def test_a_truncated_compressed_file_is_named_with_one_way_out(monkeypatch, tmp_path):
    files = compressed(mnist())
    put(monkeypatch, tmp_path / "MNIST/raw", "mnist", files | {f"{IMAGES}.gz": files[f"{IMAGES}.gz"][:-9]})
    message = refused("mnist", tmp_path)
    assert message.startswith(f"{tmp_path / 'MNIST/raw' / IMAGES}.gz is not a readable .gz")
    assert message.endswith("; delete it and run again with --set data.download=true")
    assert "http" not in message


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
