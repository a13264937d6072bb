"""torchvision's classifiers by name: quantized like the others, drawn from our generator, started from a file."""

import copy
import hashlib
import pickle

import pytest
import torch
from safetensors.torch import save_file

from core.checkpoint import load, save
from core.errors import BadInput
from core.models import build, initialise_, model_info
from core.models.torchvision_nets import torchvision_names
from core.models.weights import file_digest, load_weights_
from core.quant import QuantSpec, calibrate_, quantizer_faults, quantizers
from core.quant.layers import QuantConv2d, QuantLinear
from tests.core.toy_problem import FP, PLAIN, differing, seeded, toy_images

SMALL = ("squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5")
W4A4 = QuantSpec.parse("4w4a")
each_small = pytest.mark.parametrize("name", SMALL)


def images(count=8, size=32):
    return PLAIN.normalise(toy_images(count, size=size).pixels)


def network(name, classes=4, quant=FP, **options):
    return build(f"tv:{name}", classes, generator=seeded(), quant=quant, **options)


def theirs(name, classes, seed=1):
    """torchvision's own network with random weights, and their file's usual form."""
    from torchvision.models import get_model

    torch.manual_seed(seed)
    return get_model(name, num_classes=classes).state_dict()


def written(path, state):
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    else:
        torch.save(state, path)
    return path


def refused(call, *arguments, **options):
    with pytest.raises(BadInput) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("label", ["4w4a", "2w-dsq-perchannel", "4w4a-pact", "4w8a-released"])
@each_small
def test_every_layer_is_quantized_and_gets_a_finite_gradient(name, label):
    model = calibrate_(network(name, quant=QuantSpec.parse(label)), images())
    assert quantizer_faults(model) == {}
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert all(isinstance(layer, QuantConv2d | QuantLinear) for layer in layers)
    logits = model.train()(images())
    assert logits.shape == (8, 4)
    logits.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert sum(p.grad is not None for p in model.parameters()) > len(layers)


@pytest.mark.parametrize("name", ["swin_t", "vit_b_32"])
def test_projections_that_attention_reads_itself_stay_in_full_precision(name):
    spared = model_info(f"tv:{name}").full_precision(W4A4)
    assert spared
    assert all(inner.endswith((".attn.qkv", ".attn.proj", ".self_attention.out_proj")) for inner in spared)
    assert model_info(f"tv:{name}").full_precision(FP) == ()


def test_swin_trains_quantized():
    model = network("swin_t", quant=W4A4)
    assert quantizer_faults(calibrate_(model, images(2, 64))) == {}
    model(images(2, 64)).square().sum().backward()
    unused = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert unused == []
    assert len(list(quantizers(model))) > 50


def test_shortcuts_of_torchvisions_resnets_may_stay_full_precision():
    spec = QuantSpec.parse("4w4a-fpshortcuts")
    assert model_info("tv:resnet18").full_precision(spec) == tuple(
        f"layer{n}.0.downsample.0" for n in (2, 3, 4)
    )
    assert model_info("tv:resnet18").full_precision(W4A4) == ()


@each_small
def test_weights_follow_from_the_generator_alone(name):
    torch.manual_seed(0)
    first = network(name)
    before = torch.random.get_rng_state()
    second = network(name)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert differing(first, second) == []
    assert differing(first, initialise_(copy.deepcopy(second), seeded(1)))


def test_a_transformer_forgets_everything_that_was_learned():
    model, fresh = network("swin_t"), network("swin_t")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.37)
    assert differing(initialise_(model, seeded()), fresh) == []


def test_a_checkpoint_survives(tmp_path):
    model = calibrate_(network("mobilenet_v3_small", quant=W4A4), images()).eval()
    save(tmp_path, model, {})
    fresh = network("mobilenet_v3_small", quant=W4A4)
    fresh.load_state_dict(load(tmp_path)[0])
    assert torch.equal(fresh.eval()(images()), model(images()))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@each_small
def test_weights_come_from_a_local_file(tmp_path, name, suffix):
    state = theirs(name, 4)
    path = written(tmp_path / f"weights{suffix}", state)
    assert differing(network(name, weights=path).state_dict(), state) == []
    quantized = network(name, quant=W4A4, weights=path).state_dict()
    assert differing({n: quantized[n] for n in state}, state) == []
    assert file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "head"), [("mobilenet_v3_small", "classifier.3"), ("squeezenet1_1", "classifier.1")]
)
def test_a_head_for_other_classes_is_left_out(tmp_path, name, head):
    state = theirs(name, 10)
    model, fresh = network(name, weights=written(tmp_path / "w.pth", state)), network(name)
    own = model.state_dict()
    assert {n for n in state if n.startswith(head)} == {f"{head}.weight", f"{head}.bias"}
    for inner, tensor in own.items():
        expected = fresh.state_dict()[inner] if inner.startswith(head) else state[inner]
        assert torch.equal(tensor, expected), inner


def test_files_from_before_batches_were_counted(tmp_path):
    state = {n: t for n, t in theirs("mobilenet_v3_small", 4).items() if "num_batches" not in n}
    model = network("mobilenet_v3_small", weights=written(tmp_path / "w.pth", state))
    assert differing({n: model.state_dict()[n] for n in state}, state) == []


def test_weights_of_another_network_are_refused(tmp_path):
    path = written(tmp_path / "w.pth", theirs("mobilenet_v3_small", 4))
    message = refused(network, "squeezenet1_1", weights=path)
    for part in (
        str(path),
        "another network",
        "it lacks 52 tensors (features.0.weight, features.0.bias, features.3.",
        " …)",
        "it has also",
    ):
        assert part in message
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 2))
    path = written(tmp_path / "x.pth", torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), model[1]).state_dict())
    assert "0.weight is (4, 3, 5, 5), not (4, 3, 3, 3)" in refused(load_weights_, model, path)


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "pickle", "list"])
def test_a_file_of_something_else_is_one_line(tmp_path, suffix, damage):
    path, marker = tmp_path / f"weights{suffix}", tmp_path / "executed"
    whole = written(path, theirs("squeezenet1_1", 4)).read_bytes()
    path.write_bytes(whole[:-1000])
    if damage == "missing":
        path.unlink()
    elif damage == "pickle":
        path.write_bytes(pickle.dumps(Evil(marker)))
    elif damage == "list":
        torch.save([1, 2], path)
    elif damage == "empty":
        path.write_bytes(b"")
    assert str(path) in refused(network, "squeezenet1_1", weights=path)
    assert not marker.exists()


def test_names():
    assert {"resnext50_32x4d", "swin_t", "resnet18"} <= set(torchvision_names())
    assert "did you mean 'tv:resnext50_32x4d'" in refused(model_info, "tv:resnext50_32x4")
    assert "unknown architecture 'tv:googlenet'" in refused(model_info, "tv:googlenet")
    assert "did you mean 'tv:NAME'" in refused(model_info, "tv.NAM")
    assert "leave widths.tv:resnet18 out" in refused(network, "resnet18", width=0.5)
