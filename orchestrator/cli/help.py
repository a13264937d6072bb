"""What `--help` shows: what each verb does, with commands to copy; imports nothing, so that help comes at once."""

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
    "sync": ("brings MLflow up to date with the store", (("sync --store runs/digits", ""),)),
    "ui": ("serves the MLflow comparison of a store", (("ui --store runs/digits", ""),)),
}

_HEAD = """Machine unlearning on quantized networks: plan, run and compare a whole grid.

Without a verb it runs; without a recipe it is the whole paper.
"""
_TAIL = """
Every verb knows --json. Exit codes: 0 done, 2 bad input or nothing can run, 3 finished with failed nodes.
Completion of verbs, recipes and --set: unlearn-grid --install-completion
"""


def examples() -> list[str]:
    """Every command of the help, as the arguments after `python -m orchestrator.grid`."""
    return [arguments for _, commands in VERBS.values() for arguments, _ in commands]


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
