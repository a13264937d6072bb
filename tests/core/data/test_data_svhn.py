"""SVHN's two .mat files."""

import numpy as np
import pytest

from core.data import DATASETS, load
from core.errors import BadInput
from tests.core.data_files import mat, md5, publish, write_folder


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)


def put(monkeypatch, root, train, test):
    files = {"train_32x32.mat": train, "test_32x32.mat": test}
    write_folder(root, files)
    publish(monkeypatch, "svhn", {name: md5(data) for name, data in files.items()})


def test_ten_means_zero(monkeypatch, tmp_path, images):
    labels = [n % 10 + 1 for n in range(20)]  # 1..10
    put(monkeypatch, tmp_path, mat(images, labels), mat(images[:5], [10, 1, 9, 10, 2]))
    data = load("svhn", tmp_path)
    assert data.train_labels.tolist() == [(n + 1) % 10 for n in range(20)]
    assert data.test_labels.tolist() == [0, 1, 9, 0, 2]
    assert np.array_equal(data.train_images.numpy(), images.transpose(0, 3, 1, 2))
    assert (data.crop_padding, data.flip, data.source) == (0, False, "official archive")


@pytest.mark.parametrize(
    ("train", "complaint"),
    [
        (lambda x: mat(x, [11] * 20), "row 0: label 11 is outside 0..9"),
        (lambda x: mat(x, [1] * 19), "for 19 labels"),
        (lambda x: mat(x[:, :28, :28], [1] * 20), "(28, 28, 3, 20)"),
        (lambda x: mat(x, [1] * 20)[:5000], "not a readable SVHN file"),
        (lambda x: b"", "not a readable SVHN file"),
    ],
)
def test_something_else_with_the_right_sum(monkeypatch, tmp_path, images, train, complaint):
    put(monkeypatch, tmp_path, train(images), mat(images, [1] * 20))
    with pytest.raises(BadInput) as caught:
        load("svhn", tmp_path)
    assert complaint in str(caught.value)
    assert "train_32x32.mat" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_sum_is_said_of_a_file_that_cannot_run_anything(monkeypatch, tmp_path, images):
    data = mat(images, [1] * 20)
    put(monkeypatch, tmp_path, data, data)
    publish(monkeypatch, "svhn", {"train_32x32.mat": md5(data), "test_32x32.mat": "f" * 32})
    said, counts = load("svhn", tmp_path).remarks
    assert said.endswith(
        f"test_32x32.mat is not the published file (md5 published {'f' * 32}, found {md5(data)})"
    )
    assert counts == "20 training and 20 test images, officially 73,257 and 26,032"


def test_the_published_sums_are_torchvisions():
    import torchvision.datasets

    theirs = torchvision.datasets.SVHN.split_list
    assert [[r.url, r.file, r.md5] for r in DATASETS["svhn"].downloads] == [theirs["train"], theirs["test"]]
