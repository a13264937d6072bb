"""The official CIFAR archives: Python-2 pickles, in their folder or their .tar.gz."""

import os
import pickle
from functools import partial

import numpy as np
import pytest

from core.data import DATASETS, load
from core.errors import BadInput
from tests.core.data_files import (
    batch,
    cifar10_batches,
    md5,
    pickled,
    publish,
    python2_pickle,
    tar_of,
    write_folder,
)

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"


@pytest.fixture
def batches():
    return cifar10_batches()


def put_folder(monkeypatch, root, files, **other_sums):
    write_folder(root / FOLDER, files)
    publish(monkeypatch, "cifar10", {name: md5(data) for name, data in files.items()} | other_sums)


def put_archive(monkeypatch, root, files, archive=None):
    data = tar_of(FOLDER, files) if archive is None else archive
    (root / ARCHIVE).write_bytes(data)
    publish(monkeypatch, "cifar10", {name: md5(data) for name, data in files.items()} | {ARCHIVE: md5(data)})


def refused(name, root, **options):
    with pytest.raises(BadInput) as caught:
        load(name, root, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_writer_of_this_test_writes_what_python_2_wrote(batches):
    data = pickled(batches)["test_batch"]
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in data
    assert b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87" in data  # the flags as 0 and 1
    assert pickle.loads(data, encoding="bytes")[b"labels"] == batches["test_batch"]["labels"]


def test_folder(monkeypatch, tmp_path, batches):
    put_folder(monkeypatch, tmp_path, pickled(batches))
    data = load("cifar10", tmp_path)
    rows = np.concatenate([batches[f"data_batch_{n}"]["data"] for n in range(1, 6)])
    assert np.array_equal(data.train_images.numpy(), rows.reshape(-1, 3, 32, 32))
    assert data.train_labels.tolist() == [n % 10 for n in range(20)] * 5
    assert np.array_equal(data.test_images.numpy().reshape(20, -1), batches["test_batch"]["data"])
    assert (data.source, data.classes, data.crop_padding, data.flip) == ("official archive", 10, 4, True)


def test_archive_holds_the_same_and_is_not_unpacked(monkeypatch, tmp_path, batches):
    files = pickled(batches)
    put_archive(monkeypatch, tmp_path, files)
    packed = load("cifar10", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {ARCHIVE, ".unlearn-grid-cache"}
    put_folder(monkeypatch, tmp_path / "other", files)
    assert load("cifar10", tmp_path / "other").digest == packed.digest


def test_cifar100_takes_the_fine_labels(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    contents = {name: batch(rng, 200, 100, "fine_labels") for name in ("train", "test")}
    for content in contents.values():
        content["coarse_labels"] = [0] * 200
    files = pickled(contents)
    write_folder(tmp_path / "cifar-100-python", files)
    publish(monkeypatch, "cifar100", {name: md5(data) for name, data in files.items()})
    data = load("cifar100", tmp_path)
    assert data.train_labels.tolist() == [n % 100 for n in range(200)]
    assert (data.classes, data.mean[0]) == (100, 0.5071)


@pytest.mark.parametrize("protocol", [2, 4])
def test_python_3_pickles_with_bytes_keys(monkeypatch, tmp_path, batches, protocol):
    renamed = {name: {key.encode(): value for key, value in b.items()} for name, b in batches.items()}
    put_folder(monkeypatch, tmp_path, {n: pickle.dumps(b, protocol=protocol) for n, b in renamed.items()})
    assert len(load("cifar10", tmp_path).train_labels) == 100


def test_a_changed_batch_is_refused_with_both_sums(monkeypatch, tmp_path, batches):
    files = pickled(batches)
    put_folder(monkeypatch, tmp_path, files, data_batch_3="0" * 32)
    message = refused("cifar10", tmp_path)
    assert str(tmp_path / FOLDER / "data_batch_3") in message
    assert "0" * 32 in message
    assert md5(files["data_batch_3"]) in message
    assert message.endswith("; delete it and run again with --set data.download=true")


def test_a_truncated_archive_is_refused_with_both_sums(monkeypatch, tmp_path, batches):
    put_archive(monkeypatch, tmp_path, pickled(batches))
    whole = (tmp_path / ARCHIVE).read_bytes()
    (tmp_path / ARCHIVE).write_bytes(whole[:-1000])
    message = refused("cifar10", tmp_path)
    assert all(part in message for part in (ARCHIVE, md5(whole), md5(whole[:-1000])))


def test_a_truncated_archive_with_the_right_sum_is_refused(monkeypatch, tmp_path, batches):
    files = pickled(batches)
    put_archive(monkeypatch, tmp_path, files, archive=tar_of(FOLDER, files)[:-1000])
    assert "not a readable .tar.gz" in refused("cifar10", tmp_path)


def test_an_archive_that_lacks_a_batch(monkeypatch, tmp_path, batches):
    files = pickled(batches)
    del files["data_batch_2"]
    put_archive(monkeypatch, tmp_path, files)
    assert f"lacks {FOLDER}/data_batch_2" in refused("cifar10", tmp_path)


def test_other_members_of_an_archive_go_nowhere(monkeypatch, tmp_path, batches):
    root = tmp_path / "deep" / "root"
    root.mkdir(parents=True)
    put_archive(monkeypatch, root, {**pickled(batches), "../../../escaped": b"x", "readme.html": b"x"})
    load("cifar10", root)
    assert {path.name for path in tmp_path.rglob("*") if path.suffix != ".npy"}.isdisjoint(
        {"escaped", "readme.html"}
    )


class Evil:
    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


EVIL = {
    "system": lambda marker: Evil(os.system, f"touch {marker}"),
    "eval": lambda marker: Evil(eval, f"open({str(marker)!r}, 'w')"),
    "codec": lambda marker: Evil(pickle.codecs.encode, "text", "rot13"),
    "numpy": lambda marker: Evil(np.save, str(marker), 1),
    "partial": lambda marker: Evil(partial, print),
}


@pytest.mark.parametrize("kind", EVIL)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_even_with_the_right_sum(
    monkeypatch, tmp_path, batches, kind, protocol
):
    marker = tmp_path / "executed"
    evil = {**batches["test_batch"], "more": EVIL[kind](marker)}
    put_folder(monkeypatch, tmp_path, {**pickled(batches), "test_batch": pickle.dumps(evil, protocol)})
    message = refused("cifar10", tmp_path)
    assert "refused" in message
    assert "test_batch" in message
    assert not marker.exists()


def test_the_sum_is_compared_before_anything_is_unpickled(monkeypatch, tmp_path, batches):
    put_folder(monkeypatch, tmp_path, pickled(batches))
    (tmp_path / FOLDER / "test_batch").write_bytes(pickle.dumps(EVIL["system"](tmp_path / "executed")))
    assert "md5 expected" in refused("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"labels": [0, 1, 10] + [0] * 17}, "row 2: label 10 is outside 0..9"),
        ({"labels": [0, -1] + [0] * 18}, "row 1: label -1 is outside"),
        ({"labels": [0.5] * 20}, "not integers"),
        ({"labels": [0] * 19}, "20 images but 19 labels"),
        ({"data": np.zeros((20, 3000), np.uint8)}, "no uint8 rows"),
        ({"data": np.zeros((20, 3072), np.int64)}, "refused: an array of i8"),
        ({"data": np.zeros((20, 3072), object)}, "refused: an array of O8"),
        ({"data": "text"}, "no uint8 rows"),
    ],
)
def test_a_batch_of_something_else(monkeypatch, tmp_path, batches, change, complaint):
    batches["data_batch_4"] |= change
    put_folder(monkeypatch, tmp_path, pickled(batches))
    message = refused("cifar10", tmp_path)
    assert complaint in message
    assert str(tmp_path / FOLDER / "data_batch_4") in message


@pytest.mark.parametrize("content", [b"", b"\x80\x02", python2_pickle([1, 2]), b"\x80\x02}q\x01U"])
def test_a_broken_pickle_with_the_right_sum(monkeypatch, tmp_path, batches, content):
    put_folder(monkeypatch, tmp_path, {**pickled(batches), "data_batch_1": content})
    assert "data_batch_1 is not a readable pickle" in refused("cifar10", tmp_path)


def test_forged_type_flags_do_not_reach_numpy(monkeypatch, tmp_path, batches):
    """With numpy's own dtype, this flag makes the bytes of the array pointers to Python objects."""
    files = pickled(batches)
    flags = b"J\xff\xff\xff\xff" * 2 + b"K%ct"  # the end of a dtype's state: size, alignment, flags
    assert files["test_batch"].count(flags % 0) == 1
    put_folder(
        monkeypatch, tmp_path, {**files, "test_batch": files["test_batch"].replace(flags % 0, flags % 63)}
    )
    rows = load("cifar10", tmp_path).test_images.numpy().reshape(20, -1)
    assert np.array_equal(rows, batches["test_batch"]["data"])


def test_an_incomplete_folder_is_no_folder(monkeypatch, tmp_path, batches):
    put_folder(monkeypatch, tmp_path, pickled(batches))
    (tmp_path / FOLDER / "test_batch").unlink()
    message = refused("cifar10", tmp_path)
    assert f"cifar10 is not under {tmp_path}" in message
    assert f"{FOLDER}/test_batch" in message


@pytest.mark.parametrize(("name", "known"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_the_published_sums_are_torchvisions(name, known):
    import torchvision.datasets

    theirs = getattr(torchvision.datasets, known)
    source = DATASETS[name].sources[0]
    official = source.official()
    assert source.folder == theirs.base_folder
    assert [[batch, official.md5[batch]] for batch in source.train] == theirs.train_list
    assert [[batch, official.md5[batch]] for batch in source.test] == theirs.test_list
    (remote,) = DATASETS[name].downloads
    assert (remote.url, remote.file, remote.md5) == (theirs.url, source.archive, theirs.tgz_md5)
