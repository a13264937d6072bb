"""The comparison tables of a grid, from its entries."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from orchestrator.plan import Cell, Plan
from orchestrator.report.attack_notes import attack_notes
from orchestrator.report.exported import export_notes
from orchestrator.report.facts import facts_of, notes_of
from orchestrator.report.gradient_norms import norm_table
from orchestrator.report.lines import line_of
from orchestrator.report.method_facts import method_notes
from orchestrator.report.noise import Floor, noise_floor
from orchestrator.report.option_series import original_of
from orchestrator.report.paper import printed_rows
from orchestrator.report.references import class_counts, refused_of, with_refusals
from orchestrator.report.tables import Line, Mark, Table
from orchestrator.report.trials import EvaluatedTrial, edges_of, evaluated_trials
from orchestrator.report.verdict import BySeed, Verdict, judge
from orchestrator.results import Entry, Row, collect, with_figures
from orchestrator.spec import GridSpec, start_caveats, strict, titles


def build_tables(spec: GridSpec, plan: Plan, rows: Iterable[Row]) -> list[Table]:
    """The tables of a grid, in the plan's order, seeds within; a hole stays a hole."""
    by_key = {row["key"]: row for row in with_figures(rows)}
    entries = with_refusals(collect(plan, by_key.values()), class_counts(plan))
    return tables_of(spec, entries, by_key, evaluated_trials(plan, entries, by_key))


def tables_of(
    spec: GridSpec, entries: Iterable[Entry], rows: Mapping[str, Row], tried: Iterable[EvaluatedTrial] = ()
) -> list[Table]:
    """The tables of a grid's entries. rows: all rows by key, which hold the curves of the selected trials."""
    groups: dict[Cell, dict[str, list[Entry]]] = {}
    for entry in entries:
        at = entry.cell._replace(seed=spec.seeds[0], method="retrain")
        groups.setdefault(at, {}).setdefault(entry.cell.method, []).append(entry)
    trials: dict[Cell, list[EvaluatedTrial]] = {}
    for trial in tried:
        trials.setdefault(trial.cell._replace(seed=spec.seeds[0], method="retrain"), []).append(trial)
    tables = {at: _table(spec, at, methods, rows) for at, methods in groups.items()}
    return [replace(table, edges=_edges(trials.get(at, []))) for at, table in tables.items()]


def _edges(tried: Sequence[EvaluatedTrial]) -> tuple[str, ...]:
    return tuple(edge.text for edge in edges_of(tried))


def _table(spec: GridSpec, at: Cell, methods: dict[str, list[Entry]], rows: Mapping[str, Row]) -> Table:
    everything = [entry for entries in methods.values() for entry in entries]
    refused = refused_of(everything)
    retrains = [entry.row for entry in methods.get("retrain", ()) if entry.row]
    floor = None if refused else noise_floor(retrains)
    lines = [line_of(name, entries, rows) for name, entries in methods.items()]
    verdict = judge(*_ranked(lines, methods), floor)
    scenario = titles.scenario(at.scenario, at.amount)
    return Table(
        at,
        f"{titles.title(at.dataset)} · {titles.title(at.arch)} · {at.quant} · {scenario}",
        facts_of(spec, at, everything, floor),
        tuple(_marked(line, verdict, floor) for line in lines),
        (
            *notes_of(lines, everything),
            *method_notes(spec, at, methods),
            *attack_notes(methods),
            *export_notes(methods),
        ),
        floor,
        printed_rows(spec, at, {line.method: _means(line) for line in lines}, len(spec.seeds)),
        norm_table(methods, rows),
        verdict=verdict,
        refused=refused,
        caveats=tuple(start_caveats(spec, at.arch)),
        strict=strict(spec, at.arch),
    )


def _means(line: Line) -> dict[str, float | None]:
    means: dict[str, float | None] = {name: value.mean for name, value in line.figures.items()}
    return means | {"ag": line.ag.mean if line.ag else None}


def _ranked(
    lines: list[Line], methods: Mapping[str, list[Entry]]
) -> tuple[dict[str, BySeed], dict[str, BySeed]]:
    """The methods with the most seeds, and of each the original that it changed; both by seed."""
    most = max((line.count for line in lines if line.role == "method"), default=0)
    ranked = [line.method for line in lines if line.role == "method" and line.ag and line.count == most]
    by_seed: dict[str, BySeed] = {
        method: {entry.cell.seed: entry for entry in entries if entry.row}
        for method, entries in methods.items()
    }
    originals = {method: by_seed.get(_original(by_seed[method]), {}) for method in ranked}
    return {method: by_seed[method] for method in ranked}, originals


def _original(seeds: BySeed) -> str:
    """The label of the original that a method changed."""
    entry = next(iter(seeds.values()))
    return original_of(entry.cell.method, json.loads((entry.row or {})["params"] or "{}"))


def _marked(line: Line, verdict: Verdict, floor: Floor | None) -> Line:
    """The line with its rank, where one may be given, and what it is not told apart from."""
    if line.method not in verdict.ranked or line.ag is None:
        return line
    marks: dict[str, Mark] = {verdict.best: "best", verdict.second: "second"}
    near = verdict.near(line.method, line.ag.mean, floor)
    return replace(line, mark=marks.get(line.method, ""), near=near)
