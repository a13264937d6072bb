"""Lists of images to forget: read from files, matched with the rows of a data set, told what is odd about them."""

import hashlib
import shutil
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from core.data import Limit, list_entries, listed_images, load, rows_of, spans
from core.data.readers.pictures import square
from core.errors import BadInput
from tests.core.data_files import encoded, noise, npz, organamnist, tiny_imagenet, write_folder

CLASSES = ("ant", "bee")


def folder(root, count=6):
    """Noise in two classes of `pets`; train/ant/0.png … as bytes by name."""
    rng, files = np.random.default_rng(0), {}
    for split, each in (("train", count), ("test", 2)):
        for name in CLASSES:
            files |= {f"{split}/{name}/{number}.png": encoded(noise(rng, 64)) for number in range(each)}
    write_folder(root / "pets", files)
    return files


def found(root, *entries, name="folder:pets", **options):
    return listed_images(name, root, root / "cache", entries, **options)


def refused(call, *arguments, **options):
    with pytest.raises(BadInput) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def table(path, images, **columns):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    paths = columns.pop("paths", [None] * len(images))
    rows = [{"bytes": image, "path": name} for image, name in zip(images, paths, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = [n % 2 for n in range(len(images))]
    pq.write_table(pa.table({"image": pa.array(rows, kind), "label": labels, **columns}), path)


@settings(max_examples=50, deadline=None)
@given(st.sets(st.integers(0, 300)))
def test_rows_are_written_in_one_way_and_read_back(rows):
    text = spans(rows)
    assert rows_of(text).tolist() == sorted(rows)
    assert spans([*rows, *rows]) == text
    assert spans([9, 3, 4, 5]) == "3-5,9"


@pytest.mark.parametrize(
    "entry",
    [
        "pets/train/ant/3.png", "train/ant/3.png", "./train/ant/3.png", "ant/3.png", "train\\ant\\3.png", "3",
    ],
)  # fmt: skip
def test_an_image_of_a_folder_has_many_names(tmp_path, entry):
    folder(tmp_path)
    assert found(tmp_path, entry).rows.tolist() == [3]
    assert found(tmp_path, str(tmp_path / "pets" / "train" / "ant" / "3.png")).rows.tolist() == [3]


def test_an_image_is_known_by_the_sum_of_its_file_and_of_its_pixels(tmp_path):
    files = folder(tmp_path)
    file = hashlib.sha256(files["train/bee/1.png"]).hexdigest()
    pixels = hashlib.sha256(load("folder:pets", tmp_path).train_images[8].numpy().tobytes()).hexdigest()
    assert found(tmp_path, file.upper()).rows.tolist() == [7]
    assert found(tmp_path, pixels, file).rows.tolist() == [7, 8]


def test_images_without_names_are_known_by_row_and_by_pixels(tmp_path):
    (tmp_path / "organs.npz").write_bytes(npz(**organamnist()))
    pixels = load("npz:organs:28", tmp_path).train_images[5].numpy().tobytes()
    listed = found(tmp_path, hashlib.sha256(pixels).hexdigest(), "21", name="npz:organs:28")
    assert listed.rows.tolist() == [5, 21]
    assert "they have the row numbers 0 to 21" in refused(found, tmp_path, "22", name="npz:organs:28")


def test_rows_of_tables_are_called_by_a_column_or_by_the_paths_beside_the_bytes(tmp_path):
    rng = np.random.default_rng(0)
    images = [encoded(noise(rng, 64)) for _ in range(6)]
    table(tmp_path / "shop" / "train.parquet", images, id=[70, 71, 72, 73, 74, 70])
    table(tmp_path / "shop" / "test.parquet", images[:2], id=[80, 81])
    assert found(tmp_path, "72", "70", name="table:shop").rows.tolist() == [
        0,
        2,
        5,
    ]  # whatever row 70 would be
    assert "called such as 70" in refused(found, tmp_path, "0", name="table:shop")
    table(tmp_path / "hub" / "train.parquet", images, paths=[f"{n}.png" for n in "abcdef"])
    table(tmp_path / "hub" / "test.parquet", images[:2])
    assert found(tmp_path, "c.png", "5", name="table:hub").rows.tolist() == [2, 5]
    digest = hashlib.sha256(images[4]).hexdigest()
    assert found(tmp_path, digest, name="table:hub").rows.tolist() == [4]


def test_the_published_folder_has_names(tmp_path):
    wnids = [f"n{number:08}" for number in range(200)]
    write_folder(tmp_path / "tiny-imagenet-200", tiny_imagenet(wnids))
    data = load("tiny_imagenet", tmp_path, cache=tmp_path / "cache")
    (path,) = list((tmp_path / "tiny-imagenet-200" / "train" / wnids[7] / "images").glob("*_1.JPEG"))
    (row,) = found(tmp_path, path.name, name="tiny_imagenet").rows
    assert int(data.train_labels[row]) == 7


@pytest.mark.parametrize("options", [{}, {"limit": Limit(train=7)}, {"test_share": 0.25}])
def test_rows_are_those_of_the_images_that_a_run_trains_on(tmp_path, options):
    files = folder(tmp_path)
    if "test_share" in options:
        shutil.rmtree(tmp_path / "pets" / "test")
    run = load("folder:pets", tmp_path, cache=tmp_path / "cache", **options).train_images.numpy()
    names = {
        each.tobytes(): name for name, data in files.items() for each in [square(data, 64, name, Counter())]
    }
    for row, image in enumerate(run):
        name = names[image.tobytes()]
        assert name.startswith("train/")
        assert found(tmp_path, name, **options).rows.tolist() == [row]
    for name in set(files) - {names[image.tobytes()] for image in run}:
        told = refused(found, tmp_path, name, **options)
        assert "of the test set" in told or "outside data.limit" in told or "not there" in told


def test_what_is_odd_is_told_in_a_line_each(tmp_path):
    files = folder(tmp_path)
    write_folder(tmp_path / "pets", {"train/bee/copy.png": files["train/ant/0.png"]})
    entries = [*(f"train/ant/{n}.png" for n in range(5)), "train/ant/0.png", "pets/train/ant/1.png"]
    listed = found(tmp_path, *entries, "test/ant/1.png", "nobody.png")
    assert listed.rows.tolist() == [0, 1, 2, 3, 4]
    assert listed.remarks == (
        "folder:pets: 1 is not there (nobody.png)",
        "folder:pets: 1 is of the test set, which no network was trained on (test/ant/1.png)",
        "folder:pets: 2 entries name an image that another has named",
        "folder:pets: 1 retained image has exactly the pixels of a listed one (pets/train/bee/copy.png ="
        " pets/train/ant/0.png); what it shows stays learned",
    )
    both = found(tmp_path, *entries, "train/bee/copy.png")
    assert not any("pixels" in line for line in both.remarks)


def test_a_limit_leaves_images_of_a_list_out_and_says_so(tmp_path):
    folder(tmp_path)
    listed = found(tmp_path, *(f"train/ant/{n}.png" for n in range(6)), limit=Limit(train=4))
    assert len(listed.rows) == 2
    (line,) = listed.remarks
    assert "4 are outside data.limit, which null lifts (train/ant/" in line


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        (
            ["x.png", "y.png"],
            "names no training image of folder:pets: 2 are not there (x.png, y.png); they are called",
        ),
        (["12"], "1 is not there (12)"),
        (["0" * 64], "1 is not there"),
        (["train/ant/0.png", "x.png"], "half of it or more names no training image"),
        (["test/ant/1.png"], "1 is of the test set, which no network was trained on"),
        ([str(row) for row in range(12)], "names all 12 training images of folder:pets"),
        (["1.png"], "'1.png' stands for 2 images (pets/train/ant/1.png, pets/train/bee/1.png …)"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused_in_a_line(tmp_path, entries, complaint):
    folder(tmp_path)
    assert complaint in refused(found, tmp_path, *entries)


@pytest.mark.parametrize(
    ("name", "content", "column"),
    [
        ("list.txt", b"\xef\xbb\xbfa.png\r\n\r\n  b c.png \r\n", None),
        ("list.csv", b"id,File\n1,a.png\n2,b c.png\n", None),
        ("list.csv", b"who,picture\n1,a.png\n2,b c.png\n3,\n", "picture"),
        ("list", b"a.png\nb c.png", None),
    ],
)
def test_a_list_is_a_line_or_a_column_each(tmp_path, name, content, column):
    (tmp_path / name).write_bytes(content)
    assert list_entries(tmp_path / name, column) == ["a.png", "b c.png"]


def test_a_list_may_be_a_parquet_table(tmp_path):
    pq.write_table(pa.table({"row": [4, 17], "why": ["x", "y"]}), tmp_path / "list.parquet")
    assert list_entries(tmp_path / "list.parquet") == ["4", "17"]
    assert list_entries(tmp_path / "list.parquet", "why") == ["x", "y"]


@pytest.mark.parametrize(
    ("name", "content", "column", "complaint"),
    [
        ("list.txt", b"\xff\xfe\x00", None, "is not text in UTF-8"),
        ("list.txt", b"\n \n", None, "names no image"),
        ("list.txt", b"a.png", "file", "is no table (.csv or .parquet)"),
        ("list.csv", b"who,what\n1,2\n", None, "has the columns who, what; expected file or file_name"),
        ("list.csv", b"who,file\n1,2\n", "fil", "unknown column 'fil': did you mean 'file'?"),
        ("list.csv", b"file\n\xff\n", None, "is not a table with commas in UTF-8"),
        ("list.parquet", b"PAR1", None, "is not a readable Parquet file"),
    ],
)
def test_a_file_that_is_no_list_is_refused_in_a_line(tmp_path, name, content, column, complaint):
    (tmp_path / name).write_bytes(content)
    assert complaint in refused(list_entries, tmp_path / name, column)


def test_a_list_that_is_not_there_or_a_folder(tmp_path):
    assert "is not there" in refused(list_entries, tmp_path / "gone.txt")
    assert "is no file" in refused(list_entries, tmp_path)
