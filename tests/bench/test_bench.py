"""Every benchmark runs at its smallest size and its results have their shape; no time is judged."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from core.data.loader import Images
from core.quant.lsq_plus import lsq_plus
from tests.bench import training_step
from tests.bench.loading import AUGMENTED, reference_loader
from tests.bench.machine import facts
from tests.bench.measure import FULL, QUICK, Comparison, Target, side_by_side
from tests.bench.output import JSON_FILE, PAGE, duration, print_tables, write
from tests.bench.reference_loop import plain_epoch
from tests.bench.straight_through import composed_lsq_plus
from tests.bench.suite import BENCHMARKS
from tests.bench.surroundings import ROOT


@pytest.fixture
def compared() -> Comparison:
    """Two units a repetition: 1 s and 1.5 s at the median."""
    seconds = {"plain": [2.0, 1.0, 9.0], "ours": [3.0, 2.0, 4.0]}
    target = Target("ours", "ratio", 1.3)
    return Comparison("demo", "a case", "step", seconds, 2, 10, "images", "plain", target)


MARKS = {name: [pytest.mark.ray, pytest.mark.slow] for name in ("node_overhead", "makespan")}
LONG = ("allocation", "slots", "compiling", "method_epoch", "pace", "commands", "sharing", "reporting")
MARKS |= {name: [pytest.mark.slow] for name in LONG}


@pytest.mark.parametrize("name", [pytest.param(n, marks=MARKS.get(n, ())) for n in BENCHMARKS])
def test_a_benchmark_returns_positive_times_of_every_variant(name: str) -> None:
    results = BENCHMARKS[name](QUICK)
    assert results
    for found in results:
        assert found.benchmark == name
        assert len(found.seconds) >= 2
        for variant, times in found.seconds.items():
            assert len(times) == QUICK.repeats
            assert min(times) > 0
            assert (found.ratio(variant) is None) == (found.baseline in (None, variant))
        assert found.baseline is None or found.baseline in found.seconds
        assert found.target is None or found.target.variant in found.seconds
        assert (found.met() is None) == (found.target is None)


def test_a_full_run_repeats_at_least_five_times() -> None:
    assert FULL.repeats >= 5


def test_variants_take_turns_and_warm_up_first() -> None:
    calls: list[str] = []
    variants = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = side_by_side(variants, 3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert [len(times) for times in seconds.values()] == [3, 3]


def test_figures_are_per_unit_and_ratios_are_of_medians(compared: Comparison) -> None:
    assert (compared.median("plain"), compared.median("ours")) == (1.0, 1.5)
    assert compared.rate("plain") == 10
    assert (compared.ratio("plain"), compared.ratio("ours")) == (None, 1.5)
    assert (compared.reached(), compared.met()) == (1.5, False)
    more = compared.towards(Target("ours", "seconds more", 0.5))
    assert (more.reached(), more.met()) == (0.5, True)
    assert compared.towards(Target("ours", "seconds", 1.0)).reached() == 1.5


def test_the_files_hold_raw_times_machine_and_verdict_and_no_path(
    compared: Comparison, tmp_path: Path
) -> None:
    write([compared], facts(), {"demo": test_a_full_run_repeats_at_least_five_times}, tmp_path)
    text, page = (tmp_path / JSON_FILE).read_text(), (tmp_path / PAGE).read_text()
    document = json.loads(text)
    assert document["comparisons"][0]["seconds"] == compared.seconds
    assert document["comparisons"][0]["per_unit"]["ours"]["ratio"] == 1.5
    assert {"date", "cpu", "cores", "torch", "ray", "code"} <= document["machine"].keys()
    assert "≤ 1.30 ×: MISSED (1.50 ×)" in page
    assert str(ROOT) not in text + page


def test_the_terminal_table_shows_every_variant(compared: Comparison) -> None:
    console = Console(record=True, width=160, file=io.StringIO())
    print_tables([compared], console)
    shown = console.export_text()
    assert "a case" in shown
    assert all(variant in shown for variant in compared.seconds)


@pytest.mark.parametrize(
    ("seconds", "words"), [(12.34, "12.3 s"), (0.5, "500 ms"), (0.00123, "1.23 ms"), (4.56e-6, "4.56 µs")]
)
def test_durations_have_three_digits(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize("offset", [None, 0.25])
def test_the_reference_quantizer_computes_what_ours_does(offset: float | None) -> None:
    """A comparison with something easier would flatter us."""
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    found = []
    for quantize in (lsq_plus, composed_lsq_plus):
        values, step = x.clone().requires_grad_(), torch.tensor(0.2, requires_grad=True)
        shift = None if offset is None else torch.tensor(offset, requires_grad=True)
        out = quantize(values, step, shift, -8, 7, 0.1)
        torch.autograd.backward((out * weights).sum())
        found.append([out.detach(), *(t.grad for t in (values, step, shift) if t is not None)])
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-5)


def test_the_plain_loop_trains_weights_and_steps() -> None:
    """On grey images as bright as their label says; a loop that leaves something out would be too fast."""
    labels = torch.arange(64) % 10
    images = Images((25 * labels).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 32, 32), labels)
    quant = training_step.QUANTS[training_step.REFERENCE]
    model = training_step.network(0.05, quant, AUGMENTED.normalise(images.pixels))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    loader, cpu = reference_loader(images, 16), torch.device("cpu")
    losses = [plain_epoch(model, loader, cpu) for _ in range(4)]
    assert losses[-1] < losses[0]
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters())
