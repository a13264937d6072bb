"""Any folder of images."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from core.data import Limit, dataset_info, load
from core.errors import BadInput
from tests.core.data_files import encoded, noise, write_folder

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


FORMATS = ("png", "jpg", "webp", "bmp", "tif", "gif", "ppm", "tga", "jp2", "ico")


def test_whatever_pillow_reads_is_read(tmp_path):
    write(tmp_path)
    kinds = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}
    more = {
        f"train/dog/{n}.{suffix}": picture(32, 32, kinds.get(suffix, suffix.upper()))
        for n, suffix in enumerate(FORMATS)
    }
    write_folder(tmp_path / "pets", more)
    data = load("folder:pets:32", tmp_path)
    assert (data.train_labels == 3).sum() == len(FORMATS)
    middle = data.train_images[-len(FORMATS) :, :, 16, 16].float()
    assert (middle - middle[0]).abs().max() < 12  # the lossy ones come near


def test_what_is_no_image_is_left_out_and_counted(tmp_path):
    write(tmp_path)
    before = load("folder:pets", tmp_path)
    assert before.remarks == ()
    names = (
        "._0.png",
        ".DS_Store",
        "Thumbs.db",
        "notes.txt",
        "more.txt",
        "README",
        ".thumbs/a.png",
        "film.mpg",
        "x.eps",
    )
    write_folder(tmp_path / "pets", {f"train/ant/{name}": b"x" for name in names})
    data = load("folder:pets", tmp_path)
    assert data.digest == before.digest
    assert data.remarks == ("9 files left out: 1 .db, 1 .eps, 1 .mpg, 2 .txt, 3 hidden, 1 without an ending",)


@pytest.mark.parametrize("name", ["my photos", "фото", "写真", "Blüten & Blätter", "a,b", "x'y", "100%"])
def test_names_as_people_give_them(tmp_path, name):
    write(tmp_path)
    (tmp_path / "pets").rename(tmp_path / name)
    (tmp_path / name / "train/ant").rename(tmp_path / name / "train/Ameise, rot é")
    (tmp_path / name / "test/ant").rename(tmp_path / name / "test/Ameise, rot é")
    assert load(f"folder:{name}:16", tmp_path).classes == 3


def turned(orientation):
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (0, 0, 10, 20))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def test_exif_orientation_is_applied_and_said(tmp_path):
    write(tmp_path)
    write_folder(tmp_path / "pets", {"train/dog/0.png": turned(1), "train/dog/1.png": turned(3)})
    data = load("folder:pets:8", tmp_path)
    assert torch.equal(data.train_images[-1], data.train_images[-2].flip((1, 2)))
    assert data.remarks[0] == "1 image turned upright as their EXIF orientation says"


def test_frames_and_transparency_are_said(tmp_path):
    write(tmp_path)
    frames, clear = io.BytesIO(), io.BytesIO()
    shades = [Image.new("L", (8, 8), shade) for shade in (10, 200)]
    shades[0].save(frames, "GIF", save_all=True, append_images=shades[1:])
    Image.new("RGBA", (8, 8), (255, 0, 0, 90)).save(clear, "PNG")
    opaque = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 255)).save(opaque, "PNG")
    images = {"a.gif": frames, "b.png": clear, "c.png": opaque}
    write_folder(tmp_path / "pets", {f"train/dog/{name}": data.getvalue() for name, data in images.items()})
    assert load("folder:pets:8", tmp_path).remarks == (
        "1 image with several frames, of which the first was read",
        "1 image with transparency, which was dropped",
        "no test images of dog",
    )


def test_classes_without_test_images_are_named(tmp_path):
    write(tmp_path)
    more = {f"train/d{n}/0.png": picture(8, 8) for n in range(7)}
    write_folder(tmp_path / "pets", more)
    assert load("folder:pets", tmp_path).remarks == ("no test images of d0, d1, d2, d3, d4 and 2 more",)


def test_a_second_test_split_is_left_out_and_counted(tmp_path):
    write(tmp_path)
    write(tmp_path, "val")
    assert load("folder:pets", tmp_path).remarks == ("6 files left out: 6 in val, as test is the test split",)


def test_folders_of_classes_alone_are_training_images(tmp_path):
    write(tmp_path)
    (tmp_path / "pets/train").rename(tmp_path / "flat")
    message = refused("folder:flat", tmp_path)
    assert message.startswith("folder:flat has no test images")
    data = load("folder:flat", tmp_path, test_share=0.25)
    assert (data.train_labels.bincount().tolist(), data.test_labels.tolist()) == ([3, 3, 3], [0, 1, 2])


def test_a_link_to_nowhere_among_the_images(tmp_path):
    write(tmp_path)
    link = tmp_path / "pets/train/bee/9.png"
    link.symlink_to("../../gone.png")
    assert refused("folder:pets", tmp_path).startswith(
        f"{link} is a link to ../../gone.png, which is not there; "
    )


def test_links_to_folders_are_followed_once(tmp_path):
    write(tmp_path)
    (tmp_path / "pets/train/ant").rename(tmp_path / "elsewhere")
    (tmp_path / "pets/train/ant").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(tmp_path / "elsewhere")
    assert load("folder:pets", tmp_path).train_labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


TABLE = [
    ("a/1.png", "cat", "train"),
    ("a/2.png", "ant", "train"),
    ("b.png", "cat", "test"),
    ("c.png", "ant", "val"),
]


def write_table(root, name, header=("file", "label", "split"), rows=TABLE):
    files = {file: picture(8 + n, 8) for n, (file, *_) in enumerate(TABLE)}
    write_folder(root / "pets", files)
    columns = {key: [row[n] for row in rows] for n, key in enumerate(header)}
    if name.endswith(".parquet"):
        pq.write_table(pa.table(columns), root / "pets" / name)
    else:
        text = "\r\n".join(",".join(map(str, row)) for row in (header, *(r[: len(header)] for r in rows)))
        (root / "pets" / name).write_text(f"\ufeff{text}\r\n", encoding="utf-8")


@pytest.mark.parametrize("header", [("file", "label", "split"), ("file_name", "Label", "split")])
@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet", "metadata.csv"])
def test_labels_in_a_table(tmp_path, name, header):
    write_table(tmp_path, name, header)
    data = load("folder:pets:8", tmp_path)
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == ([1, 0], [1])
    assert data.source == f"image folder: labels in {name}"
    assert data.remarks == (
        "1 file left out: 1 in val, as test is the test split",
        "no test images of ant",
    )


def test_a_table_without_splits_goes_by_folders_else_asks_for_a_share(tmp_path):
    rows = [("a/1.png", 10), ("a/2.png", 10), ("b.png", 9), ("c.png", 9)]
    write_table(tmp_path, "labels.csv", ("file", "label"), rows)
    assert "folder:pets has no test images" in refused("folder:pets", tmp_path)
    data = load("folder:pets", tmp_path, test_share=0.5)
    assert sorted(data.train_labels.tolist()) == sorted(data.test_labels.tolist()) == [0, 1]
    write_folder(tmp_path / "pets", {"val/d.png": picture(8, 8)})
    write_table(tmp_path, "labels.csv", ("file", "label"), [*rows, ("val/d.png", 9)])
    assert load("folder:pets", tmp_path).test_labels.tolist() == [0]


@pytest.mark.parametrize(
    ("header", "rows", "complaint"),
    [
        (
            ("file", "name"),
            [("b.png", "x")],
            "labels.csv has the columns file, name; expected label among them",
        ),
        (("file", "label"), [("../b.png", "x")], "labels.csv row 1: '../b.png' is no file below"),
        (("file", "label"), [("/b.png", "x")], "labels.csv row 1: '/b.png' is no file below"),
        (("file", "label"), [("b.png", "x"), ("gone.png", "x")], "gone.png cannot be read (No such file"),
        (("file", "label"), [("b.png", "")], "labels.csv row 1: the file or the label is missing"),
        (
            ("file", "label", "split"),
            [("b.png", "x", "tset")],
            "row 1: unknown split 'tset': did you mean 'test'?",
        ),
        (("file", "label"), [], "holds no training images"),
        (
            ("file", "label", "split"),
            [("b.png", "x", "train"), ("c.png", "y", "test")],
            "'y' is a class without",
        ),
    ],
)
def test_what_is_wrong_in_a_table_is_named(tmp_path, header, rows, complaint):
    write_table(tmp_path, "labels.csv", header, rows)
    assert complaint in refused("folder:pets", tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe\0x", b"file,label\nb.png\n", b"", b'file,label\n"b.png'])
def test_a_table_that_is_none(tmp_path, content):
    write_table(tmp_path, "labels.csv")
    (tmp_path / "pets/labels.csv").write_bytes(content)
    assert refused("folder:pets", tmp_path).startswith(str(tmp_path / "pets/labels.csv"))


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


@pytest.mark.parametrize("missing", ["pets", "pets/train"])
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
        ("test/bee/2.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image cannot be decoded"),
        ("test/bee/2.tif", picture(9, 9, "TIFF", "F"), "image has 32 bits per channel, expected 8"),
        (
            "test/bee/2.png",
            encoded(np.zeros((64, 64), np.uint16)),
            "image has 16 bits per channel, expected 8",
        ),
        (
            "test/dog/0.png",
            encoded(noise(np.random.default_rng(0), 64)),
            "test/dog/0.png: 'dog' is a class without training images",
        ),
        ("train/dog/0.txt", b"x", "train/dog holds no image"),
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
    monkeypatch.setattr("core.data.readers.pictures.LARGEST", 4000)
    assert "image is 64×64 px, expected at most 4,000 pixels" in refused("folder:pets", tmp_path)


def test_a_folder_without_images(tmp_path):
    (tmp_path / "pets/train").mkdir(parents=True)
    (tmp_path / "pets/test").mkdir()
    assert "pets holds no training images: expected train/<class>/ with images in it" in refused(
        "folder:pets", tmp_path
    )


@pytest.mark.parametrize(
    "name",
    [
        "folder:", "folder:..", "folder:../x", "folder:a/b", "folder:x:7", "folder:x:600", "folder:x:y", "folder: x",
        "folder:x ", "folder:a\0b", "folder:a\nb", "folder:.hidden", "folder:x:\u0663\u0662", f"folder:{'é' * 101}",
    ],
)  # fmt: skip
def test_a_name_that_is_none(name):
    with pytest.raises(BadInput, match="write folder:NAME, such as folder:flowers"):
        dataset_info(name)


def test_a_slip_in_the_word_itself():
    with pytest.raises(BadInput, match="unknown dataset 'fodler:pets': did you mean 'folder:NAME'"):
        dataset_info("fodler:pets")
