"""Any folder of images."""

import io

import numpy as np
import pytest
from data_files import encoded, noise, write_folder
from PIL import Image

from core.data import Limit, dataset_info, load
from core.errors import BadInput

CLASSES = ("ant", "bee", "cat")


def write(root, test="test", pixels=64, count=4):
    """Noise in every class of `pets`; returns the files by their name."""
    rng, files = np.random.default_rng(0), {}
    for split, each in (("train", count), (test, 2)):
        for name in CLASSES:
            for number in range(each):
                files[f"{split}/{name}/{number}.png"] = encoded(noise(rng, pixels))
    write_folder(root / "pets", files)
    return files


def refused(name, root, **options):
    with pytest.raises(BadInput) as caught:
        load(name, root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def picture(width, height, kind="PNG", mode="RGB"):
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert(mode).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("test", ["test", "val", "valid", "validation"])
def test_classes_are_the_folders_in_sorted_order(tmp_path, test):
    files = write(tmp_path, test)
    data = load("folder:pets", tmp_path)
    assert data.train_labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert data.test_labels.tolist() == [0, 0, 1, 1, 2, 2]
    for row, name in ((0, "train/ant/0.png"), (11, "train/cat/3.png")):
        expected = np.asarray(Image.open(io.BytesIO(files[name]))).transpose(2, 0, 1)
        assert np.array_equal(data.train_images[row].numpy(), expected)  # of the right size: as they are
    assert (data.name, data.classes, data.source) == ("folder:pets", 3, "image folder")
    assert (data.crop_padding, data.flip) == (0, False)
    assert np.allclose(data.mean, data.train_images.double().mean((0, 2, 3)) / 255, atol=5.1e-5)


def test_the_test_folder_comes_before_the_validation_folder(tmp_path):
    write(tmp_path, "val")
    rng = np.random.default_rng(1)
    write_folder(tmp_path / "pets", {"test/ant/x.png": encoded(noise(rng, 64))})
    assert load("folder:pets", tmp_path).test_labels.tolist() == [0]


@pytest.mark.parametrize(("name", "pixels"), [("folder:pets", 64), ("folder:pets:32", 32)])
def test_images_of_any_size_and_kind_become_squares(tmp_path, name, pixels):
    write(tmp_path)
    more = {
        "train/ant/deep/tall.JPG": picture(30, 90, "JPEG"),
        "train/ant/grey.jpeg": picture(200, 100, "JPEG", "L"),
        "train/ant/palette.png": picture(17, 5, mode="P"),
        "train/ant/notes.txt": b"no image",
        "train/.hidden/x.png": picture(8, 8),
    }
    write_folder(tmp_path / "pets", more)
    data = load(name, tmp_path)
    assert data.train_images.shape == (15, 3, pixels, pixels)
    assert data.classes == 3


def test_a_wide_image_keeps_its_middle(tmp_path):
    write(tmp_path)
    stripes = np.repeat(np.array([0, 255, 255, 0], np.uint8), 32)[None].repeat(64, 0)
    write_folder(tmp_path / "pets", {"train/ant/0.png": encoded(stripes)})
    assert load("folder:pets", tmp_path).train_images[0].unique().tolist() == [255]


def test_a_changed_image_is_read_again(tmp_path):
    write(tmp_path)
    before = load("folder:pets", tmp_path).digest
    assert load("folder:pets", tmp_path).digest == before
    write_folder(tmp_path / "pets", {"train/ant/0.png": picture(65, 65)})
    assert load("folder:pets", tmp_path).digest != before


def test_a_limit_counts_the_classes_found(tmp_path):
    write(tmp_path)
    assert load("folder:pets", tmp_path, limit=Limit(train=6)).train_labels.tolist() == [0, 0, 1, 1, 2, 2]
    message = refused("folder:pets", tmp_path, limit=Limit(train=2))
    assert message == "limit of 2 train images: folder:pets has 3 classes, take as many"


@pytest.mark.parametrize("missing", ["pets", "pets/train", "pets/test"])
def test_a_missing_folder_is_asked_for(tmp_path, missing):
    write(tmp_path)
    (tmp_path / missing).rename(tmp_path / "away")
    message = refused("folder:pets", tmp_path, download=True)
    for part in (
        f"folder:pets is not under {tmp_path}",
        "pets/train/<class>/",
        "pets/test/<class>/",
        "by hand",
    ):
        assert part in message
    assert "download" not in message


@pytest.mark.parametrize(
    ("file", "data", "complaint"),
    [
        ("train/bee/2.png", b"", "bee/2.png: image cannot be decoded"),
        (
            "train/bee/2.png",
            encoded(noise(np.random.default_rng(0), 64))[:900],
            "bee/2.png: image cannot be decoded",
        ),
        ("test/bee/2.png", encoded(noise(np.random.default_rng(0), 64), "BMP"), "image cannot be decoded"),
        (
            "test/bee/2.png",
            encoded(np.zeros((64, 64), np.uint16)),
            "image has 16 bits per channel, expected 8",
        ),
        (
            "test/dog/0.png",
            encoded(noise(np.random.default_rng(0), 64)),
            "test/dog is a class without training",
        ),
        ("train/dog/0.txt", b"x", "train/dog holds no .jpg, .jpeg, .png file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, file, data, complaint):
    write(tmp_path)
    write_folder(tmp_path / "pets", {file: data})
    message = refused("folder:pets", tmp_path)
    assert complaint in message
    assert str(tmp_path / "pets") in message


def test_a_header_that_asks_for_gigabytes_is_not_decoded(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr("core.data.readers.image_folder.LARGEST", 4000)
    assert "image is 64×64 px, expected at most 4,000 pixels" in refused("folder:pets", tmp_path)


def test_a_folder_without_images(tmp_path):
    (tmp_path / "pets/train").mkdir(parents=True)
    (tmp_path / "pets/test").mkdir()
    assert "pets/train holds no folder of a class" in refused("folder:pets", tmp_path)


@pytest.mark.parametrize(
    "name", ["folder:", "folder:../x", "folder:a/b", "folder:x:7", "folder:x:600", "folder:x:y"]
)
def test_a_name_that_is_none(name):
    with pytest.raises(BadInput, match="write folder:NAME, such as folder:flowers"):
        dataset_info(name)


def test_a_slip_in_the_word_itself():
    with pytest.raises(BadInput, match="unknown dataset 'fodler:pets': did you mean 'folder:NAME'"):
        dataset_info("fodler:pets")
