"""Words for a shell's completion: recipes, methods, fields for --set and their values.

They come from the registries, whose import takes a good part of a second; so they are kept in a file of the
user's cache, which serves as long as no file of the code has changed.
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

_CODE = Path(__file__).parents[2]
_ROOMS = ("core", "orchestrator")
_BREAKS = frozenset("=:")  # where bash ends a word


def recipe_words(incomplete: str) -> list[str]:
    """Recipes that begin so."""
    return _beginning(_words()["recipes"], incomplete)


def set_words(incomplete: str) -> list[str]:
    """`archs=` and, once a field is whole, `archs=resnet18`; lists go on after a comma."""
    field, equals, value = incomplete.partition("=")
    fields = _words()["set"]
    if not equals:
        return _beginning((f"{name}=" for name in fields), incomplete)
    before, comma, last = value.rpartition(",")
    return [f"{field}={before}{comma}{word}" for word in _beginning(fields.get(field, ()), last)]


@contextmanager
def as_bash_breaks_words(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Puts together what bash takes apart: it completes `archs=re` as the words `archs`, `=` and `re`.

    It also wants to be told what follows the sign alone.
    """
    cut = _rejoin(environment)
    if cut == 0:
        yield
        return
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            yield
    finally:
        print("\n".join(line[cut:] for line in said.getvalue().splitlines()))


def _rejoin(environment: MutableMapping[str, str]) -> int:
    """Joins the words around signs at which bash breaks; how much of the word to complete bash does not hear again."""
    words = environment.get("COMP_WORDS", "").split()
    if not _BREAKS.intersection(words):
        return 0
    joined: list[str] = []
    at, cursor = int(environment.get("COMP_CWORD", "0")), 0
    for number, word in enumerate(words):
        if joined and (word in _BREAKS or words[number - 1] in _BREAKS):
            joined[-1] += word
        else:
            joined.append(word)
        cursor = len(joined) - 1 if number == at else cursor
    if at >= len(words):  # a new word
        cursor = len(joined)
        joined.append("")
    environment.update(COMP_WORDS=" ".join(joined), COMP_CWORD=str(cursor))
    return 1 + max(map(joined[cursor].rfind, _BREAKS))


def _beginning(words: Iterable[str], start: str) -> list[str]:
    return [word for word in words if word.startswith(start)]


def _words() -> dict[str, Any]:
    """From the cache if it is of this very code, else from the registries."""
    stamp, file = _stamp(), _file()
    try:
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError):
        kept = {}
    if kept.get("stamp") != stamp:
        kept = {"stamp": stamp, "recipes": _recipes(), "set": _fields()}
        _keep(file, kept)
    return kept


def _stamp() -> str:
    """Changes whenever a file of the code does."""
    files = [path for room in _ROOMS for path in (_CODE / room).rglob("*.py")]
    newest = max(path.stat().st_mtime_ns for path in files)
    return f"{_CODE} {len(files)} {newest}"


def _file() -> Path | None:
    try:
        from platformdirs import user_cache_path
    except ModuleNotFoundError:
        return None
    return user_cache_path("unlearn-grid") / "completion.json"


def _keep(file: Path | None, words: dict[str, Any]) -> None:
    from core.checkpoint import write_atomically

    if file is None:
        return
    try:
        write_atomically(file, json.dumps(words).encode())
    except OSError:
        return  # slower the next time


def grid_fields() -> list[str]:
    """The dotted fields of a grid for --set; hyper-parameters of methods as a pattern."""
    patterns = {"params": "params.METHOD.NAME", "widths": "widths.NETWORK", "weights": "weights.NETWORK"}
    found = (patterns.get(name.partition(".")[0], name) for name in _words()["set"])
    return list(dict.fromkeys(found))


def _recipes() -> list[str]:
    from orchestrator.spec import RECIPES

    return list(RECIPES)


def _fields() -> dict[str, list[str]]:
    """Every dotted field of a grid with the values it is known to take, hyper-parameters of all methods included."""
    from core.data import DATASETS
    from core.models import MODELS
    from core.unlearn import METHODS, RetrainParams
    from orchestrator.spec import ALL, GridSpec

    found = dict(_dotted(GridSpec, ""))
    quantizers = {str(info.paper_quant.label) for info in MODELS.values()}
    found |= {"datasets": list(DATASETS), "archs": list(MODELS), "methods": list(METHODS)}
    found |= {"quantizers": ["paper", *sorted(quantizers), "fp"]}
    for whole in (
        "widths",
        "weights.path",
        "weights.sha256",
        "forget.list.path",
        "forget.list.name",
        "forget.list.rows",
        "forget.list.remarks",
        "weights_saw",
        "original",
        "retrain",
        "params",
        "search.ranges",
    ):
        del found[whole]
    found["forget.list"] = []
    found |= {f"{field}.{arch}": [] for field in ("widths", "weights") for arch in MODELS}
    saw = _literals(GridSpec.model_fields["weights_saw"].annotation)
    found |= {f"weights_saw.{arch}": saw for arch in MODELS}
    for where in ("original", "retrain"):
        found |= _dotted(RetrainParams, f"{where}.")
    for name, method in METHODS.items():
        if name != "retrain":
            own = dict(_dotted(method.params, f"params.{name}."))
            found |= own
            found |= {field.replace(f".{name}.", f".{ALL}.", 1): values for field, values in own.items()}
            found |= {field.replace("params.", "search.ranges.", 1): values for field, values in own.items()}
    return {name: found[name] for name in sorted(found)}


def _dotted(model: Any, above: str) -> Iterator[tuple[str, list[str]]]:
    """A model's fields, those of its parts in their place, and the words that each may be."""
    from orchestrator.spec import models_in

    for name, field in model.model_fields.items():
        parts = list(models_in(field.annotation))
        for part in parts:
            yield from _dotted(part, f"{above}{name}.")
        if not parts or name == "limit":
            yield above + name, _literals(field.annotation)


def _literals(annotation: Any) -> list[str]:
    """The words of a Literal, also inside a union; those of a truth value."""
    from typing import Literal, get_args, get_origin

    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [word for part in get_args(annotation) for word in _literals(part)]


def of(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Completion from a fixed list."""
    known = list(words)

    def complete(incomplete: str) -> list[str]:
        return _beginning(known, incomplete)

    return complete
