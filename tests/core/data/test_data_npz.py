"""OrganAMNIST: MedMNIST's .npz."""

import numpy as np
import pytest

from core.data import DATASETS, load
from core.data.statistics import channel_statistics
from core.errors import BadInput
from tests.core.data_files import md5, npz, organamnist, publish

FILE = "organamnist.npz"


def put(monkeypatch, root, **changes):
    data = npz(**{name: a for name, a in {**organamnist(), **changes}.items() if a is not None})
    root.mkdir(parents=True, exist_ok=True)
    (root / FILE).write_bytes(data)
    publish(monkeypatch, "organamnist", {FILE: md5(data)})


def refused(root):
    with pytest.raises(BadInput) as caught:
        load("organamnist", root)
    message = str(caught.value)
    assert "\n" not in message
    assert str(root / FILE) in message
    return message


@pytest.mark.parametrize("folder", [".", "organamnist"])
def test_training_and_test_split_are_read_and_validation_is_left_out(monkeypatch, tmp_path, folder):
    arrays = organamnist()
    put(monkeypatch, tmp_path / folder)
    data = load("organamnist", tmp_path)
    for channel in range(3):
        assert np.array_equal(data.train_images[:, channel].numpy(), arrays["train_images"])
        assert np.array_equal(data.test_images[:, channel].numpy(), arrays["test_images"])
    assert data.train_labels.tolist() == data.test_labels.tolist() == [n % 11 for n in range(22)]
    assert (data.source, data.classes, data.flip) == ("MedMNIST archive", 11, False)


def test_colour_images_keep_their_channels(monkeypatch, tmp_path):
    colours = np.random.default_rng(1).integers(0, 256, (22, 28, 28, 3), dtype=np.uint8)
    put(monkeypatch, tmp_path, train_images=colours)
    assert np.array_equal(load("organamnist", tmp_path).train_images.numpy(), colours.transpose(0, 3, 1, 2))


def test_mean_and_deviation_are_measured_on_the_training_images(monkeypatch, tmp_path):
    put(monkeypatch, tmp_path)
    data = load("organamnist", tmp_path)
    pixels = data.train_images.double() / 255
    assert np.allclose(data.mean, pixels.mean((0, 2, 3)), atol=5.1e-5)
    assert np.allclose(data.std, pixels.std((0, 2, 3), correction=0), atol=5.1e-5)


def test_statistics_are_of_each_channel_and_never_zero():
    images = np.zeros((5000, 3, 2, 2), np.uint8)
    images[:, 1], images[::2, 2] = 51, 255
    assert channel_statistics(images) == ((0.0, 0.2, 0.5), (0.0039, 0.0039, 0.5))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"train_images": None}, "not a readable MedMNIST file"),
        ({"test_labels": None}, "not a readable MedMNIST file"),
        ({"train_labels": np.array([None] * 22)}, "not a readable MedMNIST file"),  # a pickle inside
        ({"train_images": np.zeros((22, 32, 32), np.uint8)}, "holds train_images uint8 (22, 32, 32)"),
        ({"test_images": np.zeros((22, 28, 28))}, "holds test_images float64 (22, 28, 28)"),
        (
            {"train_images": np.zeros((21, 28, 28), np.uint8)},
            "holds train_images uint8 (21, 28, 28) with labels",
        ),
        ({"train_labels": np.zeros((22, 2), np.uint8)}, "with labels (22, 2)"),
        ({"train_labels": np.full((22, 1), 11)}, "train_labels row 0: label 11 is outside 0..10"),
        ({"test_labels": np.full((22, 1), 0.5)}, "test_labels holds labels which are not integers"),
    ],
)
def test_an_archive_of_something_else(monkeypatch, tmp_path, changes, complaint):
    put(monkeypatch, tmp_path, **changes)
    assert complaint in refused(tmp_path)


def test_a_truncated_archive(monkeypatch, tmp_path):
    put(monkeypatch, tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-100])
    message = refused(tmp_path)
    assert f"{FILE} is not a readable MedMNIST file" in message
    assert message.endswith("; delete it and run again with --set data.download=true")


def test_an_archive_packed_by_somebody_else_is_read_and_said_to_be(monkeypatch, tmp_path):
    put(monkeypatch, tmp_path)
    publish(monkeypatch, "organamnist", {FILE: "0" * 32})
    found = load("organamnist", tmp_path)
    assert len(found.train_labels) == 22
    assert f"{FILE} is not the published file (md5 published {'0' * 32}, found" in found.remarks[0]
    assert found.remarks[1] == "22 training and 22 test images, officially 34,561 and 17,778"


def test_the_published_numbers():
    info = DATASETS["organamnist"]
    (remote,) = info.downloads
    assert (remote.file, remote.md5) == (FILE, "68e3f8846a6bd62f0c9bf841c0d9eacc")
    assert (info.train_size, info.test_size, info.pixels) == (34_561, 17_778, 28)
