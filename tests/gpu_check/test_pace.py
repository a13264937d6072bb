"""A visit's benchmarks end in the pace that `plan` counts with."""

import contextlib

from tests.bench.measure import FULL, QUICK, Comparison
from tests.bench.paces import NEEDED
from tests.gpu_check import benchmarks


def measured(monkeypatch, out, effort, cut=None):
    """Runs stand-ins for all benchmarks, up to the one at which the visit is cut off; returns what ran."""
    ran, fitted = [], []

    def stand_in(name):
        def run(_effort):
            if name == cut:
                raise KeyboardInterrupt
            ran.append(name)
            return [Comparison(name, "a case", "step", {"ours": [1.0]})]

        return run

    def keep(results, _machine):
        fitted.extend(found.benchmark for found in results)

    monkeypatch.setattr(benchmarks, "BENCHMARKS", {name: stand_in(name) for name in benchmarks.NAMES})
    monkeypatch.setattr(benchmarks, "measured_pace", keep)
    monkeypatch.setattr(benchmarks, "write_pace", lambda _pace, file: file.write_text("a pace"))
    with contextlib.suppress(KeyboardInterrupt):
        benchmarks.measure(out, effort, [])
    return ran, fitted


def test_what_the_pace_needs_comes_early_and_is_fitted_once(tmp_path, monkeypatch):
    ran, fitted = measured(monkeypatch, tmp_path, FULL)
    assert ran == benchmarks.NAMES
    assert set(ran[:4]) == {"training_step", *NEEDED}
    assert sorted(fitted) == sorted(NEEDED)
    assert (tmp_path / benchmarks.PACES).exists()
    assert measured(monkeypatch, tmp_path, FULL) == ([], [])


def test_a_visit_that_was_cut_off_between_them_measures_them_together_again(tmp_path, monkeypatch):
    last = [name for name in benchmarks.NAMES if name in NEEDED][-1]
    assert measured(monkeypatch, tmp_path, FULL, cut=last)[1] == []
    ran, fitted = measured(monkeypatch, tmp_path, FULL)
    assert set(NEEDED) <= set(ran)
    assert "training_step" not in ran
    assert sorted(fitted) == sorted(NEEDED)


def test_a_quick_visit_says_nothing_about_pace(tmp_path, monkeypatch):
    assert measured(monkeypatch, tmp_path, QUICK)[1] == []
    assert not (tmp_path / benchmarks.PACES).exists()
