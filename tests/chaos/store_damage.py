"""Damage to the files of a finished store: every kind of file, cut, emptied, flipped, swapped, linked, replaced.

A store is a stranger's data. Whatever is done to one of its files, no command ends in a traceback, no figure changes
in silence, the next run brings every row back, and nothing outside the store is touched.
"""

import io
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import Diverged
from orchestrator import grid
from orchestrator.cli import launch
from orchestrator.environment import code_revision
from orchestrator.results.reading import _CIRCUMSTANCES, read_rows
from orchestrator.run.maintenance import compact
from orchestrator.spec.specification import GridSpec, SearchSpec
from tasks.job import Place
from tasks.node import Node
from tasks.nodes import dispatch
from tasks.nodes.result import Result
from tasks.nodes.unfinished import Partial
from tasks.store import lease
from tasks.store.manifest import Corrupt
from tasks.store.store import Store
from tests.chaos import grids, stub

FLIPS = 3  # single bits, each in a case of its own
STATE = b"the state of a training " * 40


@dataclass(frozen=True)
class Prepared:
    """Finished stores to copy: `plain`, `merged` (its rows in one file), `older` (other figures under the same keys).

    file: the grid, for --spec. truth: the rows by key, as far as they follow from the grid.
    """

    folder: Path
    file: Path
    truth: dict[str, dict[str, Any]]

    def of(self, kind: str) -> Path:
        """The store in which there are files of a kind."""
        return self.folder / ("merged" if kind == "merged rows" else "plain")


@dataclass(frozen=True)
class Case:
    """One damage to one file of a kind."""

    kind: str
    damage: str
    seed: int = 0

    def __str__(self) -> str:
        """For a test's name."""
        return f"{self.kind}-{self.damage}-{self.seed}".replace(" ", "_")


def spec() -> GridSpec:
    """One problem; FT is searched by halving, every trial of GA fails."""
    values = grids.small(SearchSpec(mode="halving", trials=2)).model_dump(mode="json")
    return GridSpec.model_validate(
        values | {"datasets": ("cifar10",), "archs": ("resnet18",), "methods": ("retrain", "ft", "ga")}
    )


def _train(node: Node, place: Place, store: Store) -> Result:
    if node.inputs.get("method") == "ga":
        raise Diverged("loss is nan")
    return stub.train(node, place, store)


@contextmanager
def stubs() -> Iterator[None]:
    """Nodes that take no time, a run that writes no report, leases that are not watched for long."""
    nodes = stub.STUBS | dict.fromkeys(("original", "retrain", "trial"), _train)
    with ExitStack() as stack:
        stack.enter_context(patch.dict(dispatch._FUNCTIONS, nodes))
        stack.enter_context(patch.dict(os.environ, {stub.SECONDS: "0", stub.BYTES: "600"}))
        stack.enter_context(patch.object(launch, "_finish", _exit_code))
        stack.enter_context(patch.object(lease, "BEAT", 0.01))
        yield


def _exit_code(_spec: Any, _plan: Any, _store: Any, _options: Any, summary: Any, *_: Any) -> int:
    return 3 if summary.failed else 0


def prepare(folder: Path) -> Prepared:
    """Runs the grid twice, the second time with other figures."""
    folder.mkdir(parents=True, exist_ok=True)
    file = grids.write(spec(), folder)
    with stubs():
        _complete(folder / "plain", file)
        with patch.object(stub, "share", lambda node, name: 50 * _SHARE(node, name) / 100):
            _complete(folder / "older", file)
    store = Store(str(folder / "plain"))
    (failed,) = (key for key in sorted(store.failures())[:1])
    Partial(store, failed, 1).save(3, STATE)
    Partial(store, sorted(store.failures())[-1], 1).save(4, STATE[::-1])
    gone = lease.this_driver().__class__(**{**lease.this_driver().__dict__, "pid": 2**22 + 1, "at": 0.0})
    store.put(lease.NAME, gone.packed())
    shutil.copytree(folder / "plain", folder / "merged")
    compact(Store(str(folder / "merged")))
    return Prepared(folder, file, said(store))


_SHARE = stub.share


def _complete(store: Path, file: Path) -> None:
    code, output = command("run", "--spec", str(file), "--store", str(store), "--executor", "inline")
    assert code == 3, output  # GA fails


def command(*arguments: str) -> tuple[int, str]:
    """A command in this process: its exit code and all that it says. What it raises is a traceback."""
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output):
        code = grid.main([*arguments, "--json"])
    return code, output.getvalue()


def said(store: Store) -> dict[str, dict[str, Any]]:
    """The rows of a store by key, without what depends on the clock."""
    return {
        row["key"]: {name: value for name, value in row.items() if name not in _CIRCUMSTANCES}
        for row in read_rows(store)[0]
    }


# which file of the store, among the candidates in the order of their names

KINDS: dict[str, Callable[[Path, dict[str, dict[str, Any]]], list[Path]]] = {
    **{
        f"manifest of {kind}": lambda store, rows, kind=kind: _of(store, rows, kind, "manifests/{}.json")
        for kind in ("data", "original", "evaluate", "search", "select")
    },
    **{
        f"part of {kind}": lambda store, rows, kind=kind: _of(store, rows, kind, "parts/{}.parquet")
        for kind in ("data", "evaluate", "select", "trial")
    },
    "part of a failure": lambda store, rows: _failed(store, rows, "parts/{}.parquet"),
    "failure": lambda store, rows: _failed(store, rows, "failures/{}.json"),
    "log": lambda store, rows: _failed(store, rows, "logs/{}.log"),
    "weights": lambda store, rows: _of(store, rows, "original", "artifacts/{}/model.safetensors"),
    "predictions": lambda store, rows: _of(store, rows, "retrain", "artifacts/{}/predictions.npz"),
    "files of a node": lambda store, rows: _of(store, rows, "original", "artifacts/{}"),
    "saved state": lambda store, _: sorted(store.glob("partial/*/*")),
    "mark of a choice": lambda store, _: sorted(store.glob("kept/*")),
    "merged rows": lambda store, _: sorted(store.glob("rows/*")),
    "last grid": lambda store, _: [store / "spec.json"],
    "grid": lambda store, _: sorted(store.glob("grids/*")),
    "version": lambda store, _: [store / "version.json"],
    "lease": lambda store, _: [store / "lease.json"],
}


def _of(store: Path, rows: dict[str, dict[str, Any]], kind: str, pattern: str) -> list[Path]:
    keys = sorted(key for key, row in rows.items() if row["kind"] == kind and row["status"] == "done")
    return [path for key in keys if (path := store / pattern.format(key)).exists()]


def _failed(store: Path, rows: dict[str, dict[str, Any]], pattern: str) -> list[Path]:
    keys = sorted(key for key, row in rows.items() if row["status"] == "failed")
    return [path for key in keys if (path := store / pattern.format(key)).exists()]


# what is done to it


@dataclass(frozen=True)
class Victim:
    """A file (or folder) to damage. other: one of its kind. older: what an earlier run left under its name."""

    path: Path
    other: Path
    older: Path
    outside: Path
    seed: int


def _bytes(make: Callable[[bytes, Victim], bytes]) -> Callable[[Victim], None]:
    def damage(victim: Victim) -> None:
        for path in sorted(victim.path.iterdir()) if victim.path.is_dir() else [victim.path]:
            path.write_bytes(make(path.read_bytes(), victim))

    return damage


def _flipped(data: bytes, victim: Victim) -> bytes:
    flipped = bytearray(data or b"\0")
    at = random.Random(f"{victim.path.name} {victim.seed}").randrange(8 * len(flipped))
    flipped[at // 8] ^= 1 << at % 8
    return bytes(flipped)


def _table() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"key": [1, 2], "fa": ["high", None]}), buffer)
    return buffer.getvalue()


def _taken(source: Path, victim: Victim) -> None:
    """Puts another file, or folder, in the victim's place; nothing if there is no other."""
    if source.is_dir():
        shutil.rmtree(victim.path)
        shutil.copytree(source, victim.path)
    elif source.exists():
        shutil.copyfile(source, victim.path)


def _linked(victim: Victim) -> None:
    """A link to somebody else's files, which are just what stood here."""
    elsewhere = victim.outside / "theirs"
    victim.path.rename(elsewhere)
    victim.path.symlink_to(elsewhere)


def _replaced(victim: Victim, make: Callable[[Path], Any]) -> None:
    if victim.path.is_dir():
        shutil.rmtree(victim.path)
    else:
        victim.path.unlink()
    make(victim.path)


def _filled_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_bytes(b"x")


DAMAGES: dict[str, Callable[[Victim], None]] = {
    "cut": _bytes(lambda data, _: data[: len(data) // 2]),
    "empty": _bytes(lambda *_: b""),
    "binary": _bytes(lambda *_: random.Random(5).randbytes(300)),
    "list": _bytes(lambda *_: b"[1, 2]"),
    "mapping": _bytes(lambda *_: json.dumps({"key": 3, "files": {"a": {}}, "schema_version": "x"}).encode()),
    "deep": _bytes(lambda *_: b'{"a":' * 20_000),
    "table": _bytes(lambda *_: _table()),
    "swapped": lambda victim: _taken(victim.other, victim),
    "older": lambda victim: _taken(victim.older, victim),
    "gone": lambda victim: _replaced(victim, lambda _: None),
    "link": _linked,
    "dangling": lambda victim: _replaced(victim, lambda path: path.symlink_to(victim.outside / "nothing")),
    "pipe": lambda victim: _replaced(victim, os.mkfifo),
    "folder": lambda victim: _replaced(victim, _filled_folder),
    "flipped": _bytes(_flipped),
}


def cases() -> list[Case]:
    """Every damage to every kind of file, a flipped bit at several places."""
    return [
        Case(kind, damage, seed)
        for kind in KINDS
        for damage in DAMAGES
        for seed in range(FLIPS if damage == "flipped" else 1)
    ]


def endure(case: Case, prepared: Prepared, folder: Path) -> str:
    """Does the damage to a copy, looks at what every reader makes of it, and has a run go on from there.

    Returns what became of it in a word. AssertionError, or the traceback itself, if the store did not withstand.
    """
    store = folder / "store"
    shutil.copytree(prepared.of(case.kind), store)
    outside = folder / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"somebody else's")
    names = KINDS[case.kind](store, prepared.truth)
    path = names[0]
    other = names[-1] if len(names) > 1 else _neighbour(path)
    older = prepared.folder / "older" / path.relative_to(store)
    DAMAGES[case.damage](Victim(path, other, older, outside, case.seed))
    theirs = tree(outside)
    with stubs():
        word = _withstands(Store(str(store)), prepared, alone=path.parent in (store, store / "grids"))
    assert tree(outside) == theirs, f"{case}: files outside the store are others now"
    return word


def _neighbour(path: Path) -> Path:
    """Another file, or folder, beside one."""
    alike = (p for p in sorted(path.parent.iterdir()) if p != path and p.is_dir() == path.is_dir())
    return next(alike, path.with_name("nothing"))


def _withstands(store: Store, prepared: Prepared, *, alone: bool) -> str:
    """alone: also look at the store with nothing but what it says of itself."""
    if alone:
        code, output = command("status", "--store", store.address)
        assert code in (0, 2, 3), output
    given = ("--spec", str(prepared.file), "--store", store.address)
    code, output = command("status", *given)
    assert code in (0, 3), output
    _check_files(store, prepared)
    seen = said(store)
    changed = [key for key, row in seen.items() if row != prepared.truth[key]]
    assert not changed, f"other figures without a word: {changed}"
    code, output = command("run", *given, "--executor", "inline")
    assert code == 3, output
    assert said(store) == prepared.truth
    aside = any((Path(store.root) / "quarantine").rglob("*"))
    if seen != prepared.truth:
        return "computed again"
    return "set aside" if aside else "no matter"


def _check_files(store: Store, prepared: Prepared) -> None:
    """What a node reads is what was written, or known to be broken; a state goes on only where it belongs."""
    whole = Store(str(prepared.folder / "plain"))
    for key, row in prepared.truth.items():
        if row["kind"] in ("original", "retrain") and row["status"] == "done":
            for name in ("model.safetensors", "predictions.npz"):
                try:
                    assert store.read(key, name) == whole.read(key, name)
                except Corrupt:
                    continue
        if row["status"] == "failed":
            assert Partial(store, key, 1).load() in (None, Partial(whole, key, 1).load())


def tree(folder: Path) -> dict[str, bytes | str]:
    """Every file below a folder with its bytes, every link with where it leads."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def damages(folder: Path) -> list[str]:
    """All cases, as the lines of a Markdown table: for each kind of file what became of how many damages."""
    prepared, found = prepare(folder / "prepared"), Counter[tuple[str, str]]()
    for number, case in enumerate(cases()):
        try:
            word = endure(case, prepared, folder / str(number))
        except Exception as error:  # what a store must never do to whoever reads it
            word = f"BROKEN: {case}: {type(error).__name__}"
        found[case.kind, word] += 1
        shutil.rmtree(folder / str(number), ignore_errors=True)
    words = ["no matter", "set aside", "computed again"]
    words += sorted({word for _, word in found if word not in words})
    lines = [f"| file | damages | {' | '.join(words)} |", f"| --- |{' ---: |' * (len(words) + 1)}"]
    for kind in KINDS:
        counts = [found[kind, word] for word in words]
        lines.append(f"| {kind} | {sum(counts)} | {' | '.join(map(str, counts))} |")
    return lines


def page(lines: list[str]) -> list[str]:
    """The table with what it means."""
    return [
        "## Damaged stores",
        "",
        f"Each of {len(DAMAGES)} damages ({', '.join(DAMAGES)}; {FLIPS} flipped bits) is done to one file of each",
        "kind in a finished store. `status` and every reader look at it, then the same command runs again.",
        "*Set aside*: found, moved to quarantine/, mended from what the store knows or computed again, with every row",
        "there all the time; *computed again*: a row was missing until the run; *no matter*: nothing to find, or",
        "what was found is passed over until it is needed. No row ever showed another figure, no command ended in a",
        "traceback, and what lay outside the store, behind links too, stayed as it was.",
        "",
        f"By itself: `python -m tests.chaos.store_damage`. {datetime.now(UTC):%Y-%m-%d}, code {code_revision()}",
        "",
        *lines,
    ]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(prefix="damage-") as scratch:
        print("\n".join(page(damages(Path(scratch)))))
