"""Pictures of what people look at: python -m tests.pictures --store runs/digits --to FOLDER [--only mlflow]."""

import argparse
from collections.abc import Callable
from pathlib import Path

from tests.browser import program
from tests.pictures.mlflow import mlflow_pictures
from tests.pictures.report import report_pictures
from tests.pictures.terminal import terminal_pictures

VIEWS: dict[str, Callable[[str, Path], list[Path]]] = {
    "report": report_pictures,
    "mlflow": mlflow_pictures,
    "terminal": terminal_pictures,
}


def main() -> None:
    """Makes them and says where they are."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures")
    parser.add_argument("--store", default="runs/digits", help="a finished grid")
    parser.add_argument("--to", type=Path, default=Path("runs/pictures"), help="folder of the pictures")
    parser.add_argument("--only", choices=VIEWS, action="append", help="some of them")
    asked = parser.parse_args()
    if program() is None:
        parser.error("pictures need a Chromium on this machine, such as Debian's package chromium")
    if not (Path(asked.store) / "report" / "index.html").is_file():
        parser.error(
            f"no report in {asked.store}: run `make grid` first, or name a finished grid with --store"
        )
    for name in asked.only or VIEWS:
        for path in VIEWS[name](asked.store, asked.to):
            print(path)


if __name__ == "__main__":
    main()
