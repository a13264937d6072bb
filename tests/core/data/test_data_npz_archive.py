"""Any .npz archive of images: the three shapes, other sizes, and a line for each thing that is wrong."""

import numpy as np
import pytest

from core.data.readers import NpzArchive
from core.errors import BadInput

SHAPES = {
    "grey": (8, 8),
    "last": (8, 8, 3),
    "first": (3, 8, 8),
    "one last": (8, 8, 1),
    "one first": (1, 8, 8),
}


def content(shape=(8, 8), count=6):
    images = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    labels = np.arange(count) % 3
    return {
        "train_images": images,
        "train_labels": labels[:, None],
        "test_images": images[:3],
        "test_labels": labels[:3].astype(np.uint8),
    }


def read(folder, found, pixels=8):
    np.savez(folder / "cells.npz", **found)
    reader = NpzArchive("cells")
    return reader.read(reader.find(folder), 0, pixels)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_shape_becomes_three_channels_first(tmp_path, shape):
    given = content(shape)
    found = read(tmp_path, given)
    planes = given["train_images"]
    if len(shape) == 3 and shape[2] in (1, 3):
        planes = planes.transpose(0, 3, 1, 2)
    expected = np.broadcast_to(planes if planes.ndim == 4 else planes[:, None], (6, 3, 8, 8))
    assert np.array_equal(found.train_images, expected)
    assert found.train_labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert (found.test_images.shape, found.test_labels.dtype) == ((3, 3, 8, 8), np.int64)


def test_another_size_is_brought_to_the_one_that_was_asked_for(tmp_path):
    given = content((12, 9))
    given["train_images"][:] = 77
    found = read(tmp_path, given, pixels=16)
    assert found.train_images.shape == (6, 3, 16, 16)
    assert set(found.train_images.ravel().tolist()) == {77}


def test_an_archive_that_is_not_there_is_not_found(tmp_path):
    assert NpzArchive("cells").find(tmp_path) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test_labels": None}, "lacks test_labels; it holds train_images, train_labels, test_images"),
        ({"train_images": np.zeros((6, 8, 8))}, "train_images are float64, expected uint8 from 0 to 255"),
        ({"train_images": np.zeros((6, 8, 8, 4), np.uint8)}, "train_images are (6, 8, 8, 4), expected (N, H, W)"),
        ({"train_images": np.zeros((6, 64), np.uint8)}, "train_images are (6, 64), expected (N, H, W)"),
        ({"train_labels": np.arange(5)}, "expected a label for each image"),
        ({"test_labels": np.array([0, 1, 7])}, "test_labels row 2: label 7 is outside 0..2"),
        ({"train_labels": np.full(6, -1)}, "label -1 is outside"),
        ({"train_labels": np.full(6, 0.5)}, "labels which are not integers"),
        ({"train_labels": np.array([{"a": 1}] * 6, dtype=object)}, "is not a readable NumPy archive"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_wrong_is_one_line_that_names_the_file(tmp_path, changes, said):
    found = {name: value for name, value in (content() | changes).items() if value is not None}
    with pytest.raises(BadInput) as caught:
        read(tmp_path, found)
    assert said in str(caught.value)
    assert "cells.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", None])
def test_a_damaged_archive_is_one_line(tmp_path, damage):
    np.savez(tmp_path / "cells.npz", **content())
    whole = (tmp_path / "cells.npz").read_bytes()
    (tmp_path / "cells.npz").write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    reader = NpzArchive("cells")
    with pytest.raises(BadInput, match=r"cells\.npz is not a readable NumPy archive"):
        reader.read(reader.find(tmp_path), 0, 8)
