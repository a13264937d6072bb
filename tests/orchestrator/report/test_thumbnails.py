"""Pictures of forgotten images: of the forget set, of the very images that results are of, and nobody's unasked."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from core.data import Limit, content_digest, load, split
from core.metrics.predictions import Predictions, pack
from orchestrator import grid
from orchestrator.report.contents import read_grid
from orchestrator.report.thumbnails import SHOWN, galleries
from orchestrator.report.writing import write_report
from orchestrator.spec.fields import DataSpec, LimitSpec
from tasks.nodes.result import PREDICTIONS
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

LIMIT = 200


class Pictured(Fake):
    """Results of the images under a folder, with predictions of originals and Retrains."""

    def __init__(self, store, spec, digest):
        super().__init__(store, spec)
        self.digest = digest

    def _facts(self, node):
        return {"digest": self.digest, "classes": 10} if node.kind == "data" else {}

    def fill(self, *_):
        super().fill()
        confidence = np.full(LIMIT, 0.25, np.float32)
        seen = Predictions(np.zeros(LIMIT, np.int16), np.zeros(LIMIT, np.int16), confidence)
        for node in self.plan.nodes.values():
            if node.kind in ("original", "retrain"):
                self.store.commit(node, {PREDICTIONS: pack({"train": seen})}, {}, self.rows[node.key])


def pictured(cache, root, name, **changes):
    """A store of digits, or of an archive, decoded; its grid found."""
    digest = content_digest(name, root, cache, decode=True)
    data = DataSpec(root=str(root), cache=str(cache), limit=LimitSpec(train=LIMIT))
    spec = small_spec(datasets=(name,), methods=("retrain", "ft"), data=data, **changes)
    store = Store("memory://thumbnails")
    store.remove("")
    fake = Pictured(store, spec, digest)
    fake.fill()
    return fake, read_grid(store, spec, fake.plan)


def shown(fake, found, wanted=None):
    return galleries(fake.store, fake.spec, fake.plan, found.tables, found.entries, wanted)


def pixels(thumbnail):
    _, _, data = thumbnail.source.partition(",")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).transpose(2, 0, 1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("decoded")


@pytest.fixture
def own(tmp_path):
    """An archive of images of one's own, 96 px wide: too large to be kept as they are."""
    draw = np.random.default_rng(0)
    arrays = {
        f"{part}_images": draw.integers(0, 256, (200, 96, 96, 3), np.uint8) for part in ("train", "test")
    }
    arrays |= {f"{part}_labels": np.arange(200) % 10 for part in ("train", "test")}
    np.savez(tmp_path / "people.npz", **arrays)
    return tmp_path


def test_they_are_forgotten_images_with_label_and_probabilities(tmp_path, cache):
    fake, found = pictured(cache, tmp_path, "digits")
    (gallery,) = shown(fake, found)
    data = load("digits", tmp_path, cache=cache, limit=Limit(train=LIMIT))
    forget = split(data.train_labels, "random", 0.1, 1).forget
    assert len(gallery.shown) == SHOWN
    assert f"{SHOWN} of the {len(forget)} forgotten images of seed 1" in gallery.about
    images, labels = data.train_images[forget].numpy(), data.train_labels[forget].tolist()
    for one in gallery.shown:
        (at,) = [n for n, image in enumerate(images) if np.array_equal(image, pixels(one))]
        assert one.label == f"class {labels[at]}"
        assert one.said == ("original 25 %", "Retrain 25 %")


def test_a_class_that_is_forgotten_is_shown_whole(tmp_path, cache):
    fake, found = pictured(cache, tmp_path, "digits", classes=(3,))
    (gallery,) = shown(fake, found)
    assert {one.label for one in gallery.shown} == {"class 3"}


def test_images_of_a_list_are_those_that_it_names(tmp_path, cache):
    rows = {"path": "asked.csv", "name": "asked", "rows": {"digits": "5-6,40"}}
    fake, found = pictured(cache, tmp_path, "digits", ratios=(), forget={"list": [rows]})
    (gallery,) = shown(fake, found)
    images = load("digits", tmp_path, cache=cache, limit=Limit(train=LIMIT)).train_images[[5, 6, 40]].numpy()
    for image, one in zip(images, gallery.shown, strict=True):
        assert np.array_equal(image, pixels(one))


def test_the_page_holds_them_and_leaves_them_out_when_asked(tmp_path, cache):
    fake, found = pictured(cache, tmp_path, "digits")
    write_report(fake.store, fake.spec, fake.plan, (), found)
    assert fake.store.get("report/index.html").count(b'<img src="data:image/png;base64,') == SHOWN
    write_report(fake.store, fake.spec, fake.plan, (), found, thumbnails=False)
    assert b"data:image" not in fake.store.get("report/index.html")


def test_ones_own_images_are_shown_only_where_they_are_asked_for(own, cache):
    fake, found = pictured(cache, own, "npz:people:96")
    assert shown(fake, found) == [None]
    (gallery,) = shown(fake, found, wanted=True)
    assert all(one.source.startswith("data:image/jpeg;base64,") for one in gallery.shown)
    assert {pixels(one).shape for one in gallery.shown} == {(3, 64, 64)}


def test_other_images_than_the_results_are_never_shown(own, tmp_path, cache):
    fake, found = pictured(cache, own, "npz:people:96")
    other = np.zeros((200, 96, 96, 3), np.uint8)
    labels = np.arange(200) % 10
    np.savez(
        own / "people.npz", train_images=other, train_labels=labels, test_images=other, test_labels=labels
    )
    content_digest("npz:people:96", own, cache, decode=True)
    assert shown(fake, found, wanted=True) == [None]


def test_another_verb_has_no_pictures(tmp_path, capsys):
    assert grid.main(["plan", "--no-thumbnails", "--store", str(tmp_path)]) == 2
    assert "belong to run and report, not to plan" in capsys.readouterr().err
