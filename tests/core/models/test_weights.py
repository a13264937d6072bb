"""Files of weights as people have them: checkpoints that wrap a state dict, and pickles that are none."""

import argparse
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from core.errors import BadInput
from core.models.weights import check_weights, load_weights_


def network(seed=0, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, 2))


TRAINED = network(1).state_dict()
PARALLEL = {f"module.{name}": tensor for name, tensor in TRAINED.items()}
COMPILED = {f"module._orig_mod.{name}": tensor for name, tensor in TRAINED.items()}


def refused(call, *arguments):
    with pytest.raises(BadInput) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        TRAINED,
        PARALLEL,
        COMPILED,
        {f"_orig_mod.module.{name}": tensor for name, tensor in TRAINED.items()},
        {"model": TRAINED, "epoch": 7},
        {"state_dict": PARALLEL, "optimizer": {"lr": 0.1}, "best": 0.9},
        {"epoch": 1, "model": {"state_dict": COMPILED}},
        {"model_state_dict": {f"model.{name}": tensor for name, tensor in TRAINED.items()}},
    ],
)
def test_a_checkpoint_is_unwrapped_to_its_weights(tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pth")
    loaded = load_weights_(network(), tmp_path / "checkpoint.pth").state_dict()
    assert loaded.keys() == TRAINED.keys()
    assert all(torch.equal(tensor, TRAINED[name]) for name, tensor in loaded.items())


def test_names_of_safetensors_are_plain_too_and_a_prefix_of_the_network_itself_stays(tmp_path):
    save_file(PARALLEL, tmp_path / "parallel.safetensors")
    load_weights_(network(), tmp_path / "parallel.safetensors")
    inside = nn.Module()
    inside.module = network(2)
    torch.save(PARALLEL, tmp_path / "own.pth")
    load_weights_(inside, tmp_path / "own.pth")
    assert torch.equal(inside.module[3].weight, TRAINED["3.weight"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            network(width=5).state_dict(),
            "0.weight is (5, 3, 3, 3), not (4, 3, 3, 3), 0.bias is (5,), not (4,), 1.",
        ),
        (
            {f"x.{name}": t for name, t in TRAINED.items()},
            "it lacks 8 tensors (0.weight, 0.bias, 1.weight …)",
        ),
        (
            {f"x.{name}": t for name, t in TRAINED.items()},
            "has also 9 tensors (x.0.weight, x.0.bias, x.1.weight …)",
        ),
        ({"epoch": 1, "lr": 0.1}, "something else than a state dict"),
        ({"model": 3}, "or one under state_dict or model_state_dict or model: a dict of model"),
        ({}, "something else than a state dict"),
        ([1, 2], ": list"),
    ],
)
def test_what_does_not_fit_is_said_with_its_first_names(tmp_path, content, complaint):
    torch.save(content, tmp_path / "weights.pth")
    assert complaint in refused(check_weights, network(), tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [network(), {"state_dict": TRAINED, "args": argparse.Namespace(lr=0.1)}])
def test_a_pickle_of_more_than_weights_is_refused_with_a_way_out(tmp_path, content):
    torch.save(content, tmp_path / "whole.pth")
    told = refused(check_weights, network(), tmp_path / "whole.pth")
    assert "whole.pth asks for " in told
    assert "torch.save(model.state_dict(), FILE)" in told


class Trap:
    """Would write a file if somebody unpickled it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_in_a_pickle_runs(tmp_path, protocol):
    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"model": Trap(tmp_path / "ran")}, protocol))
    assert "could run anything" in refused(check_weights, network(), tmp_path / "trap.pth")
    assert not (tmp_path / "ran").exists()
