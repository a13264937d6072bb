"""Tiny-ImageNet-200: the folder and the .zip."""

import numpy as np
import pytest

from core.data import load
from core.errors import BadInput
from tests.core.data_files import encoded, md5, noise, publish, tiny_imagenet, write_folder, zip_of

ARCHIVE = "tiny-imagenet-200.zip"
WNIDS = ["n03", "n01", "n02"]  # the official list is not sorted either


def put_zip(monkeypatch, root, data):
    (root / ARCHIVE).write_bytes(data)
    publish(monkeypatch, "tiny_imagenet", {ARCHIVE: md5(data)})


def put_folder(root, files):
    write_folder(root / "tiny-imagenet-200", files)


def refused(root):
    with pytest.raises(BadInput) as caught:
        load("tiny_imagenet", root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_classes_are_numbered_in_sorted_order(tmp_path):
    files = tiny_imagenet(WNIDS)
    put_folder(tmp_path, files)
    data = load("tiny_imagenet", tmp_path)
    assert data.train_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.test_labels.tolist() == [2, 0, 1]  # in the order of val_annotations.txt
    assert data.train_images.shape == (6, 3, 64, 64)
    assert (data.crop_padding, data.flip, data.mean) == (8, True, (0.485, 0.456, 0.406))


def test_grey_scale_becomes_three_equal_channels(tmp_path):
    put_folder(tmp_path, tiny_imagenet(WNIDS))
    images = load("tiny_imagenet", tmp_path).test_images.numpy()
    assert np.array_equal(images[:, 0], images[:, 1])
    assert np.array_equal(images[:, 0], images[:, 2])
    assert images.std() > 50


def test_the_zip_holds_the_same_and_is_not_unpacked(monkeypatch, tmp_path):
    files = tiny_imagenet(WNIDS)
    put_folder(tmp_path / "folder", files)
    put_zip(monkeypatch, tmp_path, zip_of("tiny-imagenet-200", {**files, "../../escaped.JPEG": b"x"}))
    assert load("tiny_imagenet", tmp_path).digest == load("tiny_imagenet", tmp_path / "folder").digest
    assert not (tmp_path / "tiny-imagenet-200").exists()
    assert not list(tmp_path.rglob("escaped*"))


def test_a_truncated_zip_is_named_with_one_way_out(tmp_path):
    (tmp_path / ARCHIVE).write_bytes(zip_of("tiny-imagenet-200", tiny_imagenet(WNIDS))[:-500])
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path / ARCHIVE} is not a readable .zip")
    assert message.endswith("; delete it and run again with --set data.download=true")


def test_a_zip_packed_by_somebody_else_is_read_and_said_to_be(monkeypatch, tmp_path):
    data = zip_of("tiny-imagenet-200", tiny_imagenet(WNIDS))
    put_zip(monkeypatch, tmp_path, data)
    publish(monkeypatch, "tiny_imagenet", {ARCHIVE: "0" * 32})
    found = load("tiny_imagenet", tmp_path)
    assert len(found.train_labels) == 6
    assert f"{ARCHIVE} is not the published file" in found.remarks[0]
    assert md5(data) in found.remarks[0]


def test_a_flipped_byte_in_a_member_of_the_zip(monkeypatch, tmp_path):
    files = tiny_imagenet(WNIDS)
    data = zip_of("tiny-imagenet-200", files)
    image = files["train/n02/images/n02_1.JPEG"]
    put_zip(monkeypatch, tmp_path, data.replace(image, image[:-3] + b"abc"))
    assert "member tiny-imagenet-200/train/n02/images/n02_1.JPEG cannot be read" in refused(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("train/n02/images/n02_1.JPEG", b"no image", "n02_1.JPEG: image cannot be decoded"),
        ("train/n02/images/n02_1.JPEG", b"", "n02_1.JPEG: image cannot be decoded"),
        (
            "val/images/val_0.JPEG",
            encoded(noise(np.random.default_rng(0), 32)),
            "is 32×32 px, expected 64×64",
        ),
        (
            "val/val_annotations.txt",
            b"val_0.JPEG\tn09\t0\t0\t1\t1\n",
            "val_annotations.txt line 1: no class 'n09'",
        ),
        ("val/val_annotations.txt", b"../../x.JPEG\tn01\t0\t0\t1\t1\n", "val_annotations.txt line 1"),
        ("val/val_annotations.txt", b"val_7.JPEG\tn01\t0\t0\t1\t1\n", "val_7.JPEG cannot be read"),
        ("val/val_annotations.txt", b"", "a split without images"),
        ("wnids.txt", b"n01\nn02\nn03\nn04\n", "n04/images holds no .JPEG file"),
        ("wnids.txt", b"\n".join(b"n%03d" % n for n in range(201)), "holds no .JPEG file"),
    ],
)
def test_damage_is_named(tmp_path, name, content, complaint):
    put_folder(tmp_path, {**tiny_imagenet(WNIDS), name: content})
    message = refused(tmp_path)
    assert complaint in message
    assert str(tmp_path) in message


def test_more_classes_than_the_dataset_has(tmp_path):
    put_folder(tmp_path, tiny_imagenet([f"n{n:03d}" for n in range(201)], train=1, val=1, pixels=64))
    assert "wnids.txt row 200: label 200 is outside 0..199" in refused(tmp_path)


def test_a_new_image_in_a_folder_is_noticed(tmp_path):
    files = tiny_imagenet(WNIDS)
    put_folder(tmp_path, files)
    assert len(load("tiny_imagenet", tmp_path).train_labels) == 6
    put_folder(tmp_path, {"train/n02/images/n02_9.JPEG": files["train/n02/images/n02_1.JPEG"]})
    assert len(load("tiny_imagenet", tmp_path).train_labels) == 7
