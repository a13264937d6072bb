"""What `--help` shows: what each verb does, with commands to copy; imports nothing, so that help comes at once."""

import textwrap
from collections.abc import Iterable, Mapping

COMMAND = "python -m orchestrator.grid"
_WIDTH = 78

# verb -> (what it does, commands to copy, each with what it is for)
VERBS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "run": (
        "runs what is not finished; given again, it goes on where it was cut off",
        (
            ("--recipe digits", "eight methods in minutes, on two CPU cores"),
            ("--recipe digits --executor inline --budget 2m", "one process, without Ray"),
            ("--recipe cifar10_small --set data.root=DIR", "CIFAR-10 as it lies in DIR"),
            ("--recipe digits --set quantizers=4w4a,8w8a", "a field of the grid"),
            ("--recipe cross_table --set data.root=DIR", "all methods, full precision and 4 bits"),
        ),
    ),
    "plan": (
        "says what a grid is, what is done and what the rest takes",
        (
            ("plan", "the whole paper"),
            ("plan --recipe table1 --workers 1,8,64", "a table of it, on so many workers"),
            (
                "plan --recipe table1 --hardware paper",
                "in the hours of the paper's GPU, nothing measured",
            ),
        ),
    ),
    "status": (
        "says how far a grid is, also while it runs in another shell",
        (("status --store runs/digits", ""), ("status --store runs/digits --json", "")),
    ),
    "report": (
        "writes the page, Markdown, CSV, LaTeX and Parquet from the store",
        (
            ("report --store runs/digits", ""),
            ("report --store runs/digits --against runs/other", "what moved by more than the noise"),
        ),
    ),
    "compact": (
        "merges the rows of finished nodes into one file",
        (("compact --store s3://bucket/grid", ""),),
    ),
    "score": (
        "measures what a finished store lacks of the metrics, without training",
        (("score --store runs/digits", ""), ("score --store runs/digits --only mia_auc,mia_tpr", "")),
    ),
    "export": (
        "writes a cell's network as an ONNX file with integer weights",
        (("export --recipe digits --method ft --out ft.onnx", ""),),
    ),
    "sync": ("brings MLflow up to date with the store", (("sync --store runs/digits", ""),)),
    "ui": ("serves the MLflow comparison of a store", (("ui --store runs/digits", ""),)),
}

_EVERYWHERE = ("--recipe", "--spec", "--set", "--store", "--json")
_OWN: dict[str, tuple[str, ...]] = {
    "run": ("--executor", "--resume", "--retry-failed", "--budget", "--allow-cpu", "--share", "--thumbnails"),
    "plan": ("--hardware", "--workers", "--allow-cpu"),
    "status": ("--allow-cpu",),
    "report": ("--against", "--charts", "--thumbnails"),
    "export": (
        "--method", "--out", "--dataset", "--arch", "--quant", "--scenario", "--amount", "--seed",
        "--fold-batchnorm", "--snap-offsets",
    ),
    "ui": ("--port",),
}  # fmt: skip
_FIGURES = (
    ("FA", "accuracy on the images to forget: like Retrain's is right, neither 0 nor 100"),
    ("RA", "accuracy on the images that stay"),
    ("TA", "accuracy on test images"),
    ("MIA", "share of the images to forget that an attack takes for images never seen"),
    ("AG", "mean distance of these four to Retrain's, in points: the smaller, the better"),
    ("RTE", "the method's run time"),
)
_HEAD = """Machine unlearning on quantized networks: plan, run and compare a whole grid.

Without a verb it runs; without a recipe it is the whole paper.
"""
_TAIL = """
FA, RA and TA are accuracies on what is forgotten, on what stays and on test images; MIA is the share of the forgotten
that an attack takes for never seen; AG is the mean distance of the four to Retrain's: the smaller, the better.

Every verb knows --json, and `VERB --help` says more.
Exit codes: 0 done, 2 bad input or nothing can run, 3 finished with failed nodes.
Completion of verbs, recipes and --set: unlearn-grid --install-completion
"""


def examples() -> list[str]:
    """Every command of the help, as the arguments after `python -m orchestrator.grid`."""
    return [arguments for _, commands in VERBS.values() for arguments, _ in commands]


def verb_help(verb: str, options: Mapping[str, str], fields: Iterable[str], width: int) -> str:
    """The help of one verb. options: what every option does, by its name. fields: of --set. width: of the terminal."""
    what, commands = VERBS[verb]
    lines = [f"{COMMAND} {verb}: {what}", ""]
    for arguments, why in commands:
        lines += [f"  # {why}"] if why else []
        lines.append(f"  {COMMAND} {arguments}")
    own = [(name, options[name].removeprefix(f"with {verb}: ")) for name in _OWN.get(verb, ())]
    lines += ["", *_columns([*own, *((name, options[name]) for name in _EVERYWHERE)], width)]
    if verb in ("run", "plan"):
        lines += ["", "fields for --set:", *_wrapped(", ".join(fields), width)]
    if verb in ("run", "status", "report"):
        lines += ["", *_columns(_FIGURES, width)]
    return "\n".join(lines)


def _columns(rows: Iterable[tuple[str, str]], width: int) -> list[str]:
    """Names and what they mean, which goes on beneath itself."""
    known = list(rows)
    left = max(len(name) for name, _ in known) + 4
    text = max(width - left, 20)
    found = []
    for name, meaning in known:
        first, *more = textwrap.wrap(meaning, text) or [""]
        found += [f"  {name}".ljust(left) + first, *(" " * left + line for line in more)]
    return found


def _wrapped(text: str, width: int) -> list[str]:
    whole = textwrap.wrap(text, max(width - 2, 20), break_long_words=False, break_on_hyphens=False)
    return [f"  {line}" for line in whole]


def help_text() -> str:
    """The help's text; paragraphs that begin with a backspace are not wrapped."""
    parts = [_HEAD]
    for verb, (what, commands) in VERBS.items():
        lines = [f"{verb}: {what}"]
        for arguments, why in commands:
            line = f"  {COMMAND} {arguments}"
            beside = f"{line}  # {why}"
            lines += [line] if not why else [beside] if len(beside) < _WIDTH else [f"  # {why}", line]
        parts.append("\n".join(["\b", *lines]) + "\n")
    return "\n".join([*parts, _TAIL])
