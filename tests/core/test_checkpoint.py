"""Checkpoints: all or nothing, the manifest last, damage is noticed, nothing is unpickled."""

import json
import pickle

import pytest
import torch

from core import checkpoint
from core.checkpoint import MANIFEST, load, pack, save, unpack, write_atomically
from core.errors import BadInput
from core.models import build
from tests.core.toy_problem import differing, seeded, toy_model


class PowerCut(BaseException):
    pass


def names_in(folder):
    return sorted(p.name for p in folder.iterdir())


def weights_in(folder):
    """The one weights file of a checkpoint, named by its digest."""
    (path,) = folder.glob("model-*.safetensors")
    return path


def fail_at_write(monkeypatch, number):
    """The write of that number (from 1) dies after its bytes were written, before the file is in place."""
    calls, really = [], checkpoint.os.fsync

    def fsync(handle):
        calls.append(handle)
        if len(calls) == number:
            raise PowerCut
        really(handle)

    monkeypatch.setattr(checkpoint.os, "fsync", fsync)


def test_state_and_facts_come_back(tmp_path):
    model = toy_model()
    save(tmp_path / "deep" / "down", model, {"lr": 0.1, "tags": ["a"]})
    state, manifest = load(tmp_path / "deep" / "down")
    assert differing(state, model.state_dict()) == []
    assert {n: t.dtype for n, t in state.items()} == {n: t.dtype for n, t in model.state_dict().items()}
    assert (manifest["lr"], manifest["tags"]) == (0.1, ["a"])


def test_a_loaded_network_computes_the_same(tmp_path):
    model = toy_model("mobilenetv2")
    save(tmp_path, model, {})
    twin = build("mobilenetv2", 4, generator=seeded(9), width=0.1)
    twin.load_state_dict(load(tmp_path)[0])
    x = torch.randn(3, 3, 8, 8, generator=seeded())
    assert torch.equal(twin.eval()(x), model.eval()(x))


def test_the_same_model_gives_the_same_bytes():
    assert pack(toy_model()) == pack(toy_model())


def test_nothing_else_is_left_in_the_folder(tmp_path):
    save(tmp_path, toy_model(), {})
    assert names_in(tmp_path) == [MANIFEST, weights_in(tmp_path).name]


def test_the_manifest_is_written_last(tmp_path, monkeypatch):
    written, really = [], write_atomically
    monkeypatch.setattr(
        checkpoint, "write_atomically", lambda path, data: (written.append(path.name), really(path, data))
    )
    save(tmp_path, toy_model(), {})
    assert written == [weights_in(tmp_path).name, MANIFEST]


@pytest.mark.parametrize("write", [1, 2])
def test_an_interrupted_first_save_is_no_checkpoint_and_leaves_no_litter(tmp_path, monkeypatch, write):
    fail_at_write(monkeypatch, write)
    with pytest.raises(PowerCut):
        save(tmp_path, toy_model(), {})
    assert len(names_in(tmp_path)) == write - 1
    with pytest.raises(BadInput, match="no usable checkpoint"):
        load(tmp_path)


@pytest.mark.parametrize("write", [1, 2])
def test_an_interrupted_save_over_an_old_checkpoint_leaves_the_old_one(tmp_path, monkeypatch, write):
    old = toy_model()
    save(tmp_path, old, {"age": "old"})
    fail_at_write(monkeypatch, write)
    with pytest.raises(PowerCut):
        save(tmp_path, toy_model(seed=1), {"age": "new"})
    state, manifest = load(tmp_path)
    assert manifest["age"] == "old"
    assert differing(state, old.state_dict()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    fail_at_write(monkeypatch, 1)
    with pytest.raises(PowerCut):
        write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_a_save_replaces_the_older_one(tmp_path):
    save(tmp_path, toy_model(), {"age": "old"})
    new = toy_model(seed=1)
    save(tmp_path, new, {"age": "new"})
    state, manifest = load(tmp_path)
    assert manifest["age"] == "new"
    assert differing(state, new.state_dict()) == []


@pytest.mark.parametrize("where", [0, 8, 100, -1])
def test_a_flipped_byte_in_the_weights_is_bad_input(tmp_path, where):
    save(tmp_path, toy_model(), {})
    data = bytearray(weights_in(tmp_path).read_bytes())
    data[where] ^= 1
    weights_in(tmp_path).write_bytes(data)
    with pytest.raises(BadInput, match="corrupt"):
        load(tmp_path)


def test_truncated_weights_are_bad_input(tmp_path):
    save(tmp_path, toy_model(), {})
    data = weights_in(tmp_path).read_bytes()
    weights_in(tmp_path).write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match="corrupt"):
        load(tmp_path)


@pytest.mark.parametrize("missing", [weights_in, lambda folder: folder / MANIFEST])
def test_a_missing_file_is_bad_input(tmp_path, missing):
    save(tmp_path, toy_model(), {})
    missing(tmp_path).unlink()
    with pytest.raises(BadInput, match="no usable checkpoint"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "\xff", "{}", '{"sha256": null}', "[]", "null"])
def test_an_unusable_manifest_is_bad_input(tmp_path, text):
    save(tmp_path, toy_model(), {})
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput):
        load(tmp_path)


def test_the_manifest_holds_the_weights_digest(tmp_path):
    import hashlib

    save(tmp_path, toy_model(), {"sha256": "a fact may not displace it"})
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["sha256"] == hashlib.sha256(weights_in(tmp_path).read_bytes()).hexdigest()


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


@pytest.mark.parametrize("data", [b"", b"short", pickle.dumps(Trap()), b"\xff" * 64])
def test_only_safetensors_are_read(data):
    with pytest.raises(BadInput, match="safetensors"):
        unpack(data)


def test_channels_last_weights_come_back_channels_last(tmp_path):
    save(tmp_path, toy_model(), {})
    model = toy_model(seed=1)
    model.load_state_dict(load(tmp_path)[0])
    weights = [p for p in model.parameters() if p.dim() == 4]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
