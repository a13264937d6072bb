"""The command line: python -m orchestrator.grid [verb] [options]."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from orchestrator.interpreter import missing, packages_are_there

with packages_are_there():
    import typer
    from rich.console import Console

    from core.errors import BadInput, unknown
    from orchestrator.cli import (
        SIGPIPE_CODE,
        broken,
        complain,
        completion,
        flushed,
        given_up,
        help as manual,
        speak_any_encoding,
    )
    from tasks import Unavailable

EXECUTORS = ("ray", "inline")
SCRIPT = "unlearn-grid"  # as pyproject installs it; a shell completes commands, not `python -m`

Verb = Annotated[
    str,
    typer.Argument(
        help=", ".join(manual.VERBS), metavar="[VERB]", autocompletion=completion.of(manual.VERBS)
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="a named grid: digits, cifar10_small, audit_small, fidelity, full, cross_table, cross_table_class, "
        "table1 to table9, figure1, figure3, figure4, mnemonic_table, amnesiac_figure, rfa_table",
        autocompletion=completion.recipe_words,
    ),
]
SpecFile = Annotated[Path | None, typer.Option("--spec", help="a grid as YAML")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="a field of the grid, such as search.trials=3 or archs=resnet18; repeatable",
        metavar="KEY=VALUE",
        autocompletion=completion.set_words,
    ),
]
StoreUri = Annotated[str | None, typer.Option("--store", help="folder or URI of the results")]
ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor", help="ray, or inline: this process alone", autocompletion=completion.of(EXECUTORS)
    ),
]
Resume = Annotated[bool, typer.Option("--resume/--fresh", help="go on from the store, or compute anew")]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="run failed nodes again, and what needs them")
]
Budget = Annotated[str | None, typer.Option(help="start nothing that would end later: 25m, 8h, 90s")]
AllowCpu = Annotated[bool, typer.Option("--allow-cpu", help="run a grid made for GPUs on CPUs")]
Share = Annotated[bool, typer.Option("--share", help="work beside a live driver on the same store")]
Workers = Annotated[
    str | None, typer.Option(help="with plan: hours on so many GPUs or CPU slots, such as 1,8,64")
]
Port = Annotated[int | None, typer.Option(help="with ui: where it listens, on this machine alone")]
Charts = Annotated[bool, typer.Option("--charts", help="with report: every chart as SVG, PNG and PDF, too")]
Thumbnails = Annotated[
    bool | None,
    typer.Option(
        "--thumbnails/--no-thumbnails",
        help="a few forgotten images in the report's page; unless said, of published data sets alone",
    ),
]
Against = Annotated[
    str | None,
    typer.Option("--against", help="with report: another store, to see what moved", metavar="STORE"),
]
Hardware = Annotated[
    str | None,
    typer.Option(
        help="with plan: whose hours: here (measured in seconds), paper, or hardware that was measured before",
        metavar="NAME",
    ),
]
Only = Annotated[
    str | None, typer.Option("--only", help="with score: these metrics alone", metavar="NAME,NAME")
]
Method = Annotated[
    str | None, typer.Option(help="with export: a method of the grid, retrain, original, or best")
]
Out = Annotated[Path | None, typer.Option(help="with export: the file", metavar="FILE")]
Dataset = Annotated[
    str | None, typer.Option(help="with export: where the grid has several, as the five after it")
]
Arch = Annotated[str | None, typer.Option(help="with export: network")]
Quant = Annotated[str | None, typer.Option(help="with export: quantization, such as 4w4a")]
Scenario = Annotated[str | None, typer.Option(help="with export: random or class")]
Amount = Annotated[float | None, typer.Option(help="with export: ratio, or number of the class")]
Seed = Annotated[int | None, typer.Option(help="with export: seed")]
Fold = Annotated[
    bool, typer.Option("--fold-batchnorm", help="with export: normalisations into the channels' steps")
]
Snap = Annotated[
    bool,
    typer.Option("--snap-offsets", help="with export: offsets in whole steps, which is another network"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for machines, and nothing else")]

app = typer.Typer(add_completion=True, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=manual.help_text())
def grid(
    verb: Verb = "run",
    recipe: Recipe = None,
    spec_file: SpecFile = None,
    overrides: Overrides = None,
    store: StoreUri = None,
    executor: ExecutorName = "ray",
    resume: Resume = True,
    retry_failed: RetryFailed = False,
    budget: Budget = None,
    allow_cpu: AllowCpu = False,
    as_json: AsJson = False,
    share: Share = False,
    workers: Workers = None,
    port: Port = None,
    charts: Charts = False,
    against: Against = None,
    hardware: Hardware = None,
    only: Only = None,
    thumbnails: Thumbnails = None,
    method: Method = None,
    out: Out = None,
    dataset: Dataset = None,
    arch: Arch = None,
    quant: Quant = None,
    scenario: Scenario = None,
    amount: Amount = None,
    seed: Seed = None,
    fold_batchnorm: Fold = False,
    snap_offsets: Snap = False,
) -> None:
    """Parses, then hands over to a verb; the imports below cost seconds that --help need not wait for."""
    from orchestrator.cli import Export, Options, open_grid, verbs

    if verb not in verbs.VERBS:
        raise unknown("verb", verb, verbs.VERBS)
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    cell = {
        "dataset": dataset, "arch": arch, "quant": quant, "scenario": scenario, "amount": amount, "seed": seed,
    }  # fmt: skip
    _check_owner(verb, "report", {"against": against})
    _check_owner(verb, "plan", {"hardware": hardware})
    _check_owner(verb, "score", {"only": only})
    _check_owner(verb, "export", {"method": method, "out": out, **cell})
    _check_owner(verb, "export", {"fold-batchnorm": fold_batchnorm, "snap-offsets": snap_offsets})
    if thumbnails is not None and verb not in ("run", "report"):
        raise BadInput(f"--thumbnails and --no-thumbnails belong to run and report, not to {verb}")
    options = Options(
        executor,
        resume,
        retry_failed,
        seconds(budget),
        allow_cpu,
        as_json,
        share,
        counts(workers),
        port,
        charts,
        against,
        hardware,
        tuple(filter(None, (only or "").split(","))),
        thumbnails,
        Export(method, out, cell, fold_batchnorm, snap_offsets),
    )
    spec, opened = open_grid(verb, recipe, spec_file, overrides or [], store)
    raise typer.Exit(verbs.VERBS[verb](spec, opened, options, Console()))


def _check_owner(verb: str, owner: str, given: Mapping[str, object]) -> None:
    """Raises BadInput for an option of another verb."""
    for name, value in given.items():
        if verb != owner and value not in (None, False):
            shown = f"{owner} --{name}" if value is True else f"{owner} --{name} {value}"
            raise BadInput(f"--{name} belongs to {owner}, not to {verb}: {shown}")


def seconds(text: str | None) -> float | None:
    """Seconds of a duration such as 90s, 25m, 8h or 90 (minutes); BadInput otherwise."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None or float(match[1]) == 0:
        raise BadInput(f"--budget {text!r:.80}: write a duration such as 25m, 8h or 90s")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "": 60}[match[2]]


def counts(text: str | None) -> tuple[int, ...]:
    """Numbers of workers such as 1,8,64, each once and ascending; BadInput otherwise."""
    parts = [] if text is None else text.split(",")
    if not all(re.fullmatch(r"\s*[1-9]\d{0,5}\s*", part) for part in parts):
        raise BadInput(f"--workers {text!r:.80}: write numbers of workers such as 1,8,64")
    return tuple(sorted({int(part) for part in parts}))


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code, see `exit_code`."""
    speak_any_encoding()
    verb = _helped(sys.argv[1:] if arguments is None else arguments)
    if verb is not None:
        print(
            manual.verb_help(verb, _options(), completion.grid_fields(), shutil.get_terminal_size().columns)
        )
        return 0
    with completion.as_bash_breaks_words(os.environ):
        return exit_code(lambda: app(arguments, standalone_mode=False, prog_name=_program(arguments)))


def _helped(arguments: list[str]) -> str | None:
    """The verb whose help is asked for."""
    verb = next((word for word in arguments if word in manual.VERBS), None)
    return verb if "--help" in arguments else None


def _options() -> dict[str, str]:
    """What every option does, by its first name."""
    parameters = typer.main.get_command(app).params
    return {each.opts[0]: getattr(each, "help", None) or "" for each in parameters if each.opts}


def exit_code(command: Callable[[], Any]) -> int:
    """Runs a command of typer's; returns its exit code. Whatever the caller got wrong is one line on stderr.

    Where standard output broke, the code is that of a closed pipe, 141, or 2 with a line that says why.
    """
    try:
        code = int(_spoken(command) or 0)
    except OSError:
        fault = broken()
        if fault is None:
            raise  # it was something else
        return given_up(fault)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich ends a program so
            return SIGPIPE_CODE
        raise
    left = flushed()
    return given_up(left) if left else code


def _spoken(command: Callable[[], Any]) -> Any:
    """Runs a command; its exit code, or that of what it raised for the caller to know."""
    try:
        return command()
    except (BadInput, Unavailable) as error:
        return _complain(str(error))
    except _UsageError as error:
        return _complain(error.format_message())
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("core", "tasks", "orchestrator"):
            raise  # ours
        return _complain(missing(error.name))
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted; the same command goes on from here", 130)


def _program(arguments: list[str] | None) -> str:
    """What the program is called; a shell completes it by its script's name alone."""
    given = sys.argv[1:] if arguments is None else arguments
    completing = any(word.endswith("-completion") for word in given)
    return SCRIPT if completing or Path(sys.argv[0]).stem == SCRIPT else manual.COMMAND


# typer carries a click of its own or uses the installed one; either way this is its usage error
_UsageError: Any = typer.BadParameter.__mro__[1]


def _complain(message: str, code: int = 2) -> int:
    complain(message)
    return code


if __name__ == "__main__":
    sys.exit(main())
