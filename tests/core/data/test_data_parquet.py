"""Parquet image tables, as the public hubs publish them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.data import load
from core.data.statistics import channel_statistics
from core.errors import BadInput
from tests.core.data_files import encoded, noise, small_table, write_parquet

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the shared data folder is not beside the checkout"
)


def refused(name, root):
    with pytest.raises(BadInput) as caught:
        load(name, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("folder", ["", "data", "plain_text", "any_name"])
@pytest.mark.parametrize("shard", ["{}-00000-of-00001.parquet", "{}.parquet", "{}/0000.parquet"])
def test_layouts_below_the_root(tmp_path, folder, shard):
    place = tmp_path / "cifar10" / folder
    images = small_table(place)
    for split in ("train", "test"):
        (place / split).mkdir()
        (place / f"{split}-00000-of-00001.parquet").rename(place / shard.format(split))
    (place / "._train-00000-of-00001.parquet").write_bytes(b"what macOS leaves")
    data = load("cifar10", tmp_path)
    assert np.array_equal(data.train_images.numpy(), images)  # PNG loses nothing
    assert data.train_labels.tolist() == [n % 10 for n in range(20)]
    inside = "" if not folder else f"in {folder}/, "
    if shard.startswith("{}/"):
        inside = "in train/, "
    assert data.source == f"parquet table: {inside}image = img, label = label (int64)"


def test_a_folder_with_both_splits_comes_before_one_without(tmp_path):
    small_table(tmp_path / "cifar10/aside")
    (tmp_path / "cifar10/aside/test-00000-of-00001.parquet").unlink()
    small_table(tmp_path / "cifar10/whole")
    assert load("cifar10", tmp_path).source.startswith("parquet table: in whole/,")


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
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n", "row 2: image cannot be decoded"),
        (encoded(np.zeros((32, 32), np.uint16)), "row 2: image has 16 bits per channel, expected 8"),
        (encoded(noise(np.random.default_rng(0), 28)), "row 2: image is 28×28 px, expected 32×32"),
        (None, "row 2: the image bytes or the label are missing"),
    ],
)
def test_a_bad_image_is_named_by_file_and_row(tmp_path, image, complaint):
    small_table(tmp_path / "cifar10")
    path = tmp_path / "cifar10/train-00000-of-00001.parquet"
    write_parquet(path, [whole_image(), whole_image(), image, whole_image()], [0, 1, 2, 3])
    message = refused("cifar10", tmp_path)
    assert message.startswith(f"{path} {complaint}")
    assert message.endswith("; put it right, or take it out")


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ([0, 1, 10], "row 2: label 10 is outside 0..9"),
        ([0, -1, 1], "row 1: label -1 is outside 0..9"),
        ([0.0, 1.5, 2.0], "row 1: label 1.5 is not a whole number"),
        ([0.0, float("nan"), 2.0], "row 1: label nan is not a whole number"),
        (["a", "b", "c"], "its labels are not of the kind, numbers or words, of the other shards"),
        ([[0], [1, 2], []], "the column label is list<"),
        ([{"a": 1}] * 3, "the column label is struct<a: int64>, expected a number or a word in each row"),
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
    pq.write_table(pa.table({"id": [1], "number": [2], "text": ["a"]}), path)
    message = refused("cifar10", tmp_path)
    assert "has the columns id, number, text; expected one of images such as img or image" in message
    pq.write_table(pa.table({"img": ["picture.png"], "label": [0]}), path)
    assert "the column img is string, expected bytes or a struct with them" in refused("cifar10", tmp_path)


NAMES = ["airplane", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck", "zebra"]


@pytest.mark.parametrize(
    "labels",
    [
        pa.array(range(10), pa.uint8()),
        pa.array(range(10), pa.float64()),
        pa.array(map(str, range(10))),
        pa.array(NAMES),
        pa.array(NAMES).dictionary_encode(),
        pa.array(NAMES, pa.large_string()),
        pa.array(range(10)).dictionary_encode(),
    ],
    ids=lambda labels: str(labels.type)[:20],
)
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), None])
def test_labels_and_images_of_any_type(tmp_path, labels, kind):
    cells = pa.array([encoded(noise(np.random.default_rng(n), 32)) for n in range(10)], pa.binary())
    cells = pa.StructArray.from_arrays([cells], ["bytes"]) if kind is None else cells.cast(kind)
    (tmp_path / "cifar10").mkdir()
    for split in ("train", "test"):
        pq.write_table(pa.table({"picture": cells, "labels": labels}), tmp_path / f"cifar10/{split}.parquet")
    data = load("cifar10", tmp_path)
    assert data.train_labels.tolist() == data.test_labels.tolist() == list(range(10))
    assert "image = picture, label = labels (" in data.source
    assert ("airplane to zebra numbered 0 to 9" in data.source) == (labels.to_pylist() == NAMES)


def test_words_of_another_number_of_classes(tmp_path):
    small_table(tmp_path / "cifar10")
    for split in ("train", "test"):
        path = tmp_path / f"cifar10/{split}-00000-of-00001.parquet"
        write_parquet(path, [whole_image()] * 2, ["cat", "dog"])
    assert "name 2 classes, expected 10" in refused("cifar10", tmp_path)


def test_the_only_columns_of_fitting_types_need_no_known_names(tmp_path):
    (tmp_path / "pets").mkdir()
    for split in ("train", "test"):
        table = pa.table(
            {"photo": [whole_image(), encoded(noise(np.random.default_rng(1), 20))], "animal": ["cat", "ant"]}
        )
        pq.write_table(table, tmp_path / f"pets/{split}.parquet")
    data = load("table:pets:16", tmp_path)
    assert (data.train_images.shape, data.classes, data.train_labels.tolist()) == ((2, 3, 16, 16), 2, [1, 0])
    assert data.source == "parquet table: image = photo, label = animal (string), ant to cat numbered 0 to 1"


def test_numbers_of_ones_own_table_are_numbered_from_0(tmp_path):
    for split, labels in (("train", [10, 9, 2]), ("test", [9, 9, 10])):
        write_parquet(tmp_path / f"pets/{split}.parquet", [whole_image()] * 3, labels)
    data = load("table:pets", tmp_path)
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == ([2, 1, 0], [1, 1, 2])
    assert data.source.endswith("2 to 10 numbered 0 to 2")
    write_parquet(tmp_path / "pets/test.parquet", [whole_image()], [3])
    assert "test.parquet row 0: '3' is a class without training images" in refused("table:pets", tmp_path)


def test_a_test_split_is_taken_from_the_training_images_if_asked_for(tmp_path):
    small_table(tmp_path / "cifar10")
    whole = load("cifar10", tmp_path)
    (tmp_path / "cifar10/test-00000-of-00001.parquet").unlink()
    message = refused("cifar10", tmp_path)
    assert message.startswith(
        "cifar10 has no test images; take a share of its training images with --set data.test_share"
    )
    data = load("cifar10", tmp_path, test_share=0.5)
    assert data.train_labels.bincount().tolist() == data.test_labels.bincount().tolist() == [1] * 10
    both = np.concatenate([data.train_images.numpy(), data.test_images.numpy()])
    assert {image.tobytes() for image in both} == {image.tobytes() for image in whole.train_images.numpy()}
    assert "10 of 20 training images are its test split" in data.remarks
    assert load("cifar10", tmp_path, cache=tmp_path / "again", test_share=0.5, seed=7).digest == data.digest
    with pytest.raises(BadInput, match="has no test images"):
        load("cifar10", tmp_path)


def test_a_share_where_there_is_a_test_split_is_said_to_be_unused(tmp_path):
    small_table(tmp_path / "cifar10")
    data = load("cifar10", tmp_path, test_share=0.5)
    assert len(data.test_labels) == 20
    assert "it has a test split of its own, data.test_share is not used" in data.remarks


def test_a_class_with_one_image_cannot_be_shared(tmp_path):
    write_parquet(tmp_path / "pets/train.parquet", [whole_image()] * 3, [0, 0, 1])
    with pytest.raises(BadInput, match=r"data.test_share=0.2: class 1 of table:pets has one image"):
        load("table:pets", tmp_path, test_share=0.2)


def test_a_shard_that_is_a_link_to_nowhere(tmp_path):
    small_table(tmp_path / "cifar10")
    path = tmp_path / "cifar10/test-00000-of-00001.parquet"
    path.rename(tmp_path / "blob")
    path.symlink_to("../blob")
    assert len(load("cifar10", tmp_path).test_labels) == 20
    (tmp_path / "blob").unlink()
    assert refused("cifar10", tmp_path).startswith(f"{path} is a link to ../blob, which is not there")


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
