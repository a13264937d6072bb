"""core.data.load: the registry, the digits, limits, and what is said when data is missing."""

import tempfile

import numpy as np
import pytest
import torch

from core.data import DATASETS, Limit, load
from core.data.readers.parquet_table import ParquetTable
from core.data.subset import stratified
from core.errors import BadInput
from tests.core.data_files import md5, publish, small_table, tar_of


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def digits(cache):
    return load("digits", None, cache=cache)


def test_the_registry():
    assert list(DATASETS) == [
        "digits",
        "cifar10",
        "cifar100",
        "svhn",
        "tiny_imagenet",
        "mnist",
        "fashion_mnist",
        "organamnist",
    ]
    assert all(name == info.name for name, info in DATASETS.items())
    assert [info.classes for info in DATASETS.values()] == [10, 10, 100, 10, 200, 10, 10, 11]
    assert [info.crop_padding for info in DATASETS.values()] == [0, 4, 4, 0, 8, 0, 0, 0]
    assert [info.flip for info in DATASETS.values()] == [False, True, True, False, True, False, False, False]
    assert [len(info.downloads) for info in DATASETS.values()] == [0, 1, 1, 2, 1, 4, 4, 1]
    assert DATASETS["svhn"].std == (0.1980, 0.2010, 0.1970)


def test_digits(digits):
    assert (digits.train_images.shape, digits.test_images.shape) == ((1437, 3, 16, 16), (360, 3, 16, 16))
    assert (digits.train_images.dtype, digits.train_labels.dtype) == (torch.uint8, torch.int64)
    assert digits.source == "scikit-learn"
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 255)
    pixels = digits.train_images.double() / 255
    assert np.allclose(pixels.mean((0, 2, 3)), digits.mean, atol=1e-4)
    assert np.allclose(pixels.std((0, 2, 3)), digits.std, atol=1e-4)


def test_digits_are_stratified(digits):
    train, test = digits.train_labels.bincount(), digits.test_labels.bincount()
    assert (test - (train + test) * 360 / 1797).abs().max() < 1


def test_digits_are_the_same_everywhere(digits, tmp_path):
    """The digest is written down: another machine, numpy or torch must come to it too."""
    assert load("digits", tmp_path).digest == digits.digest
    assert digits.digest == "e0c602f7de21c460136058bebd153a6c218d9a95b83b6c0cb999f06646b2db57"


def test_digits_are_enlarged_bilinearly(digits):
    from sklearn.datasets import load_digits

    small = load_digits().images.astype(np.float64)
    position = np.clip((np.arange(16) + 0.5) / 2 - 0.5, 0, 7)  # align_corners=False
    low = np.minimum(position.astype(int), 6)
    weights = np.zeros((16, 8))
    weights[np.arange(16), low], weights[np.arange(16), low + 1] = 1 - (position - low), position - low
    large = np.rint(weights @ small @ weights.T * 255 / 16).astype(np.uint8)
    known = {image.tobytes(): label for image, label in zip(large, load_digits().target, strict=True)}
    images = torch.cat([digits.train_images, digits.test_images]).numpy()
    labels = torch.cat([digits.train_labels, digits.test_labels]).tolist()
    assert [known[image[0].tobytes()] for image in images] == labels
    assert np.array_equal(images[:, 0], images[:, 2])


def test_digits_without_root_or_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert len(load("digits", None).train_labels) == 1437
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("unlearn-grid-cache")


def test_an_unknown_name():
    with pytest.raises(BadInput, match="unknown dataset 'cifar11': did you mean 'cifar10'"):
        load("cifar11", None)


def test_no_root():
    with pytest.raises(BadInput, match="svhn needs a data root"):
        load("svhn", None)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        (
            "cifar10",
            ["cifar-10-batches-py/data_batch_1", "cifar-10-batches-py/test_batch", "cifar-10-python.tar.gz"],
        ),
        ("cifar100", ["cifar-100-python/train", "cifar-100-python.tar.gz"]),
        ("svhn", ["train_32x32.mat", "test_32x32.mat"]),
        ("tiny_imagenet", ["tiny-imagenet-200/wnids.txt", "tiny-imagenet-200.zip"]),
        ("mnist", ["MNIST/raw/train-images-idx3-ubyte[.gz]", "MNIST/raw/t10k-labels-idx1-ubyte[.gz]"]),
        ("fashion_mnist", ["FashionMNIST/raw/t10k-images-idx3-ubyte[.gz]"]),
        ("organamnist", ["organamnist.npz"]),
    ],
)
def test_missing_data_is_asked_for_in_one_line(tmp_path, name, files):
    with pytest.raises(BadInput) as caught:
        load(name, tmp_path)
    message = str(caught.value)
    hub = any(isinstance(source, ParquetTable) for source in DATASETS[name].sources)
    tables = [f"{name}/train-*.parquet", f"{name}/test-*.parquet"] if hub else []
    urls = [remote.url.partition("ubyte")[0].rpartition("/")[0] for remote in DATASETS[name].downloads]
    for part in (str(tmp_path), *files, *tables, *urls, "by hand", "--set data.download=true"):
        assert part in message
    assert "\n" not in message
    assert not list(tmp_path.iterdir())  # nothing was written either


def test_the_official_archive_comes_first(monkeypatch, tmp_path):
    small_table(tmp_path / "cifar10")
    data = tar_of("cifar-10-batches-py", {})
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(data)
    publish(monkeypatch, "cifar10", {"cifar-10-python.tar.gz": md5(data)})
    with pytest.raises(BadInput, match=r"cifar-10-python\.tar\.gz lacks"):
        load("cifar10", tmp_path)


def test_a_limit_keeps_the_proportions(digits, cache):
    some = load("digits", None, cache=cache, limit=Limit(train=100, test=50))
    assert (len(some.train_labels), len(some.test_labels)) == (100, 50)
    share = digits.train_labels.bincount() * 100 / 1437
    assert (some.train_labels.bincount() - share).abs().max() < 1
    assert some.digest == digits.digest


def test_a_limit_is_seeded(cache):
    first, again, other = (
        load("digits", None, cache=cache, limit=Limit(train=100), seed=seed) for seed in (3, 3, 4)
    )
    assert torch.equal(first.train_images, again.train_images)
    assert not torch.equal(first.train_images, other.train_images)
    assert len(first.test_labels) == 360


def test_a_limit_above_the_split_is_the_split(digits, cache):
    whole = load("digits", None, cache=cache, limit=Limit(train=10_000, test=360))
    assert torch.equal(whole.train_images, digits.train_images)
    assert torch.equal(whole.test_images, digits.test_images)


@pytest.mark.parametrize("limit", [Limit(train=9), Limit(test=9), Limit(train=0), Limit(test=-1)])
def test_a_limit_below_the_number_of_classes(cache, limit):
    with pytest.raises(BadInput, match="digits has 10 classes"):
        load("digits", None, cache=cache, limit=limit)


@pytest.mark.parametrize("size", [5, 6, 50, 99, 100])
def test_subsets_of_an_uneven_dataset(size):
    labels = np.repeat([0, 1, 2, 4, 5], [60, 30, 8, 1, 1])  # nobody has class 3
    kept = stratified(labels, size, (0,))
    assert len(kept) == len(set(kept)) == size
    assert (np.diff(kept) > 0).all()
    assert set(labels[kept]) == {0, 1, 2, 4, 5}


def test_a_subset_keeps_the_shares_as_far_as_every_class_has_one():
    labels = np.repeat([0, 1, 2, 4, 5], [60, 30, 8, 1, 1])
    counts = {size: np.bincount(labels[stratified(labels, size, (0,))]).tolist() for size in (5, 10, 50)}
    assert counts == {5: [1, 1, 1, 0, 1, 1], 10: [5, 2, 1, 0, 1, 1], 50: [29, 15, 4, 0, 1, 1]}
