"""What stands above and beneath a comparison table, in words."""

from pathlib import PurePath

from orchestrator.plan import Cell
from orchestrator.report.noise import Floor, floor_text
from orchestrator.report.search_effort import effort_text
from orchestrator.report.tables import Line
from orchestrator.results import Entry
from orchestrator.spec import GridSpec, titles


def facts_of(
    spec: GridSpec, at: Cell, entries: list[Entry], floor: Floor | None
) -> tuple[tuple[str, str], ...]:
    """What stands above a table: data, network, forget set, seeds, floor and search, as label and value."""
    width = spec.width(at.arch)
    seeds = ", ".join(map(str, spec.seeds))
    trials = max((entry.trials for entry in entries), default=0)
    protocols = {"paper": "paper (the equations)", "released": "released (as the published code)"}
    splits = {"one": "one split", "mismatched": "mismatched splits (the original's and the forget set's)"}
    return (
        ("Data", f"{titles.title(at.dataset)}, {titles.images(at.dataset, spec)}"),
        (
            "Network",
            titles.title(at.arch) + ("" if width == 1 else f", width × {width:g}") + _start(spec, at.arch),
        ),
        ("Quantization", titles.quantization(at.quant)),
        ("Forget set", _forgotten(at, entries)),
        (
            "Seeds",
            seeds
            + (" (mean ± 95 % interval)" if len(spec.seeds) > 1 else " (± 95 % interval by the images)"),
        ),
        ("Noise floor", floor_text(floor, len(spec.seeds))),
        ("Selection", f"{_search(spec, trials)}, reported on test figures"),
        ("Search", effort_text(spec.search, entries)),
        ("Protocol", f"{protocols[spec.protocol]}, {splits[spec.splits]}"),
    )


def _start(spec: GridSpec, arch: str) -> str:
    """`, from swin_t.safetensors (SHA-256 0123456789ab…)` for a network that starts from a file."""
    file = spec.weights.get(arch)
    return f", from {PurePath(file.path).name} (SHA-256 {file.sha256[:12]}…)" if file else ""


def _search(spec: GridSpec, trials: int) -> str:
    if trials > 1:
        return f"up to {trials} trials per method, selected on {spec.selects_on} figures"
    return "one trial per method"


def _forgotten(at: Cell, entries: list[Entry]) -> str:
    what = titles.scenario(at.scenario, at.amount)
    row = next((e.row for e in entries if e.row and e.row["forget_count"] is not None), None)
    if row is None:
        return what
    return f"{what}: {row['forget_count']:,} of {row['forget_count'] + row['retain_count']:,} images"


def notes_of(lines: list[Line], entries: list[Entry]) -> list[str]:
    """What a reader must know beside the figures: missing seeds, failed trials, uneven comparisons."""
    partial = {line.method for line in lines if 0 < line.count < line.seeds}
    notes = []
    for entry in entries:
        who = titles.title(entry.cell.method) + (f", seed {entry.cell.seed}" if lines[0].seeds > 1 else "")
        if entry.hole and entry.cell.method in partial:
            notes.append(f"{who}: {entry.hole}")
        if entry.failed_trials:
            notes.append(f"{who}: {entry.failed_trials} of {entry.trials} trials failed and were passed over")
    if any(entry.row and (entry.row["gpu_share"] or 1) < 1 for entry in entries):
        notes.append(
            "Some run times were measured on GPUs that other trials shared: RTE compares no methods here"
        )
    if partial:
        notes.append(
            "Means are over the seeds that are there; gaps compare them with Retrain on the same seeds, and only"
            " methods with the most seeds are ranked"
        )
    return notes
