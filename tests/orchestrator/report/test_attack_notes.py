"""A bistable attack is told: on the page, in Markdown, on the terminal, and in the noise floor."""

import io

import numpy as np
import pytest
from rich.console import Console

from core.metrics import SetPredictions, measure
from core.metrics.predictions import Predictions, pack, unpack
from orchestrator.report.noise import floor_text, noise_floor
from orchestrator.report.tables import Table
from orchestrator.report.tabulation import build_tables
from orchestrator.report.terminal_tables import print_tables
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

# what VGG-11 at 4 bits gave on the digits at seeds 1, 2 and 3
FT, RETRAIN = {1: 4.6, 2: 97.7, 3: 4.6}, {1: 91.5, 2: 95.4, 3: 12.3}


def table_of(change) -> Table:
    """A table whose rows a function changes. change: of a method, a seed and a row's own scores, what is other."""
    store = Store("memory://attack")
    store.remove("")
    fake = Fake(store, small_spec(methods=("retrain", "ft"), seeds=(1, 2, 3)))
    fake.fill()
    rows = [record.model_dump() for record in fake.rows.values()]
    for row in rows:
        if row["kind"] in ("evaluate", "select"):
            scores = {score["name"]: score["value"] for score in row["scores"]}
            new = change(row["method"], row["seed"])
            row |= {"mia": new.pop("mia", row["mia"])}
            row["scores"] = [{"name": name, "value": value} for name, value in (scores | new).items()]
    (table,) = build_tables(fake.spec, fake.plan, rows)
    return table


def bistable(method: str, seed: int) -> dict[str, float]:
    known = {"ft": FT, "retrain": RETRAIN}.get(method)
    attack = {"mia": known[seed], "mia_separation": 50.9, "mia_swing": 93.1} if known else {}
    return {"mia_swing": 0.5} | attack


def test_a_bistable_attack_is_told_by_what_it_lacks_by_a_hair_and_by_its_seeds():
    *notes, way_out = [note for note in table_of(bistable).notes if "MIA" in note]
    assert notes == [
        "MIA has next to nothing to learn from: AUC in percent of retained against test images Retrain 50.9, FT 50.9",
        "MIA hangs on a hair: learned from every second image it moves by up to, in points, Retrain 93.1, FT 93.1",
        "MIA jumps between seeds, and AG and the noise floor with it: Retrain 12.3 to 95.4, FT 4.6 to 97.7",
    ]
    assert "AUC and TPR at 1 % FPR" in way_out


def stored(method: str, seed: int) -> dict[str, float]:
    """What an evaluation makes of confidences as a store keeps them; of one distribution, members or not."""
    counts = {"train": 1440, "test": 360}
    sure = {part: np.random.default_rng([seed, len(method), n]).normal(8, 2, n) for part, n in counts.items()}
    zeros = {part: np.zeros(n, np.int16) for part, n in counts.items()}
    parts = {
        p: Predictions(zeros[p], zeros[p], (1 / (1 + np.exp(-sure[p]))).astype(np.float32)) for p in counts
    }
    seen = unpack(pack(parts))
    forget, retain = (seen["train"].select(np.arange(*ends)) for ends in ((0, 140), (140, 1440)))
    found = measure("predictions", SetPredictions(forget, retain, seen["test"], retain.select(np.arange(0))))
    return {name: found[name] for name in ("mia", "mia_separation", "mia_swing")}


def test_stored_confidences_that_do_not_tell_members_from_others_are_warned_of_and_the_floor_shows_it():
    table = table_of(
        lambda method, seed: stored(method, seed) if method in ("retrain", "ft") else {"mia_swing": 0.5}
    )
    close, hair, jump, _ = [note for note in table.notes if "MIA" in note]
    assert all(f"{name} 4" in close or f"{name} 5" in close for name in ("Retrain", "FT"))  # AUC near 50
    assert "Retrain" in hair
    assert "and AG and the noise floor with it" in jump
    assert "are MIA's" in dict(table.facts)["Noise floor"]


def test_an_attack_that_holds_is_not_remarked_upon():
    table = table_of(lambda _method, _seed: {"mia_separation": 80.0, "mia_swing": 2.0})
    assert not [note for note in table.notes if "MIA" in note]


def test_each_way_is_told_by_itself():
    table = table_of(lambda method, seed: {"mia_swing": 40.0 if (method, seed) == ("ft", 2) else 1.0})
    first, _ = [note for note in table.notes if "MIA" in note]
    assert first.endswith("in points, FT 40.0")


def test_the_terminal_says_it_too():
    console = Console(file=io.StringIO(), width=200)
    print_tables(console, [table_of(bistable)])
    assert "MIA hangs on a hair" in console.file.getvalue()


def test_the_noise_floor_names_the_attacks_part_where_it_is_the_larger():
    still = {"fa": 99.0, "ra": 100.0, "ta": 98.0}
    floor = noise_floor([still | {"mia": mia} for mia in RETRAIN.values()])
    between = (3.9 + 79.2 + 83.1) / 3
    assert floor.mean == pytest.approx(between / 4)
    assert floor_text(floor, 3).endswith(f", of which {between / 4:.2f} are MIA's")
    calm = noise_floor([still | {"mia": 10.0}, still | {"mia": 11.0, "fa": 91.0}])
    assert "MIA" not in floor_text(calm, 2)
