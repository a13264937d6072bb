"""Parquet image tables, as the public hubs publish them."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from data_files import encoded, noise, small_table, write_parquet

from core.data import load
from core.data.statistics import channel_statistics
from core.errors import BadInput

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the shared data folder is not beside the checkout"
)


def refused(name, root):
    with pytest.raises(BadInput) as caught:
        load(name, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("folder", ["cifar10", "cifar10/data"])
def test_layouts_below_the_root(tmp_path, folder):
    images = small_table(tmp_path / folder)
    data = load("cifar10", tmp_path)
    assert np.array_equal(data.train_images.numpy(), images)  # PNG loses nothing
    assert data.train_labels.tolist() == [n % 10 for n in range(20)]
    assert data.source == "parquet table"


def test_a_root_of_the_datasets_own_name(tmp_path, monkeypatch):
    small_table(tmp_path / "svhn", test="validation")
    assert len(load("svhn", tmp_path / "svhn").test_labels) == 20
    monkeypatch.chdir(tmp_path / "svhn")
    assert len(load("svhn", Path()).test_labels) == 20


def test_cifar100_takes_the_fine_label(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        path = tmp_path / f"cifar100/{split}-00000-of-00001.parquet"
        images = [encoded(noise(rng, 32)) for _ in range(3)]
        write_parquet(path, images, [99, 0, 50], label="fine_label", coarse_label=[1, 1, 1])
    assert load("cifar100", tmp_path).train_labels.tolist() == [99, 0, 50]


def test_shards_follow_each_other_in_name_order(tmp_path):
    small_table(tmp_path / "cifar10")
    (tmp_path / "cifar10/train-00000-of-00001.parquet").unlink()
    rng = np.random.default_rng(0)
    for shard in (2, 0, 1):
        path = tmp_path / f"cifar10/train-0000{shard}-of-00003.parquet"
        write_parquet(path, [encoded(noise(rng, 32))] * (shard + 1), [shard] * (shard + 1))
    assert load("cifar10", tmp_path).train_labels.tolist() == [0, 1, 1, 2, 2, 2]


def test_a_shard_that_did_not_arrive(tmp_path):
    small_table(tmp_path / "cifar10")
    train = tmp_path / "cifar10/train-00000-of-00001.parquet"
    train.rename(tmp_path / "cifar10/train-00000-of-00002.parquet")
    assert "is one of 2 shards, but 1 are there" in refused("cifar10", tmp_path)


def test_grey_scale_becomes_three_equal_channels(tmp_path):
    rng = np.random.default_rng(0)
    grey = noise(rng, 64, 1)
    for split in ("train", "valid"):
        write_parquet(
            tmp_path / f"tiny_imagenet/{split}-00000-of-00001.parquet",
            [encoded(grey), encoded(noise(rng, 64), "JPEG")],
            [199, 0],
            image="image",
        )
    data = load("tiny_imagenet", tmp_path)
    assert np.array_equal(data.train_images[0].numpy(), np.stack([grey] * 3))


def whole_image():
    return encoded(noise(np.random.default_rng(0), 32))


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (b"", "row 2: image cannot be decoded"),
        (b"\x89PNG\r\n\x1a\nrubbish", "row 2: image cannot be decoded"),
        (whole_image()[:1500], "row 2: image cannot be decoded"),
        (encoded(noise(np.random.default_rng(0), 32), "BMP"), "row 2: image cannot be decoded"),
        (encoded(noise(np.random.default_rng(0), 28)), "row 2: image is 28×28 px, expected 32×32"),
        (None, "row 2: the image bytes or the label are missing"),
    ],
)
def test_a_bad_image_is_named_by_file_and_row(tmp_path, image, complaint):
    small_table(tmp_path / "cifar10")
    path = tmp_path / "cifar10/train-00000-of-00001.parquet"
    write_parquet(path, [whole_image(), whole_image(), image, whole_image()], [0, 1, 2, 3])
    message = refused("cifar10", tmp_path)
    assert f"{path} {complaint}" in message
    assert "by hand" in message
    assert "data.download=true" in message


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ([0, 1, 10], "row 2: label 10 is outside 0..9"),
        ([0, -1, 1], "row 1: label -1 is outside 0..9"),
        ([0.0, 1.0, 2.0], "labels which are not integers"),
        (["a", "b", "c"], "labels which are not integers"),
        ([0, None, 1], "row 1: the image bytes or the label are missing"),
    ],
)
def test_bad_labels_are_named(tmp_path, labels, complaint):
    small_table(tmp_path / "cifar10")
    path = tmp_path / "cifar10/test-00000-of-00001.parquet"
    write_parquet(path, [whole_image()] * 3, labels)
    message = refused("cifar10", tmp_path)
    assert str(path) in message
    assert complaint in message


def test_other_columns(tmp_path):
    small_table(tmp_path / "cifar10")
    path = tmp_path / "cifar10/train-00000-of-00001.parquet"
    write_parquet(path, [whole_image()], [0], image="picture")
    assert "columns picture, label; expected img or image" in refused("cifar10", tmp_path)
    pq.write_table(
        pq.read_table(path).rename_columns(["wrong", "label"]).add_column(0, "img", [[b"x"]]), path
    )
    assert "the column img is binary, expected a struct" in refused("cifar10", tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-2000], lambda d: b"", lambda d: d[:3000] + b"x" * 9000 + d[12000:]]
)
def test_a_damaged_file_is_named(tmp_path, damage):
    small_table(tmp_path / "cifar10")
    path = tmp_path / "cifar10/train-00000-of-00001.parquet"
    path.write_bytes(damage(path.read_bytes()))
    assert str(path) in refused("cifar10", tmp_path)


def test_a_table_without_rows(tmp_path):
    small_table(tmp_path / "cifar10")
    write_parquet(tmp_path / "cifar10/train-00000-of-00001.parquet", [], [])
    assert "a split without images" in refused("cifar10", tmp_path)


@needs_shared
def test_the_real_cifar10(tmp_path):
    before = {path: path.stat().st_mtime_ns for path in SHARED.rglob("*")}
    data = load("cifar10", SHARED, cache=tmp_path)
    assert data.train_images.shape == (50_000, 3, 32, 32)
    assert data.test_images.shape == (10_000, 3, 32, 32)
    assert data.train_labels.bincount().tolist() == [5000] * 10
    assert data.test_labels.bincount().tolist() == [1000] * 10
    mean = data.train_images[::10].float().mean((0, 2, 3)) / 255
    assert np.allclose(mean, data.mean, atol=0.01)
    assert {
        path: path.stat().st_mtime_ns for path in SHARED.rglob("*")
    } == before  # the root is never written


@needs_shared
def test_the_real_tiny_imagenet(tmp_path):
    data = load("tiny_imagenet", SHARED, cache=tmp_path)
    assert data.train_images.shape == (10_000, 3, 64, 64)
    assert data.train_labels.bincount().tolist() == [50] * 200
    assert data.test_labels.bincount().tolist() == [10] * 200
    assert np.allclose(data.train_images[::10].float().mean((0, 2, 3)) / 255, data.mean, atol=0.02)


@needs_shared
def test_the_real_mnist(tmp_path):
    data = load("mnist", SHARED, cache=tmp_path)
    assert data.train_images.shape == (12_000, 3, 28, 28)
    assert data.train_labels.bincount().tolist() == [1200] * 10
    assert data.test_labels.bincount().tolist() == [200] * 10
    assert np.array_equal(data.train_images[:, 0], data.train_images[:, 2])
    mean, std = channel_statistics(data.train_images.numpy())
    assert np.allclose(mean, data.mean, atol=0.005)
    assert np.allclose(std, data.std, atol=0.005)


def test_a_root_one_may_not_write(tmp_path):
    small_table(tmp_path / "root/cifar10")
    (tmp_path / "root").chmod(0o555)
    before = sorted(tmp_path.joinpath("root").rglob("*"))
    assert len(load("cifar10", tmp_path / "root", cache=tmp_path / "cache").train_labels) == 20
    assert sorted(tmp_path.joinpath("root").rglob("*")) == before
