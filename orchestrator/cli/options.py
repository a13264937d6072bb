"""The command line after parsing, and its exit codes."""

from dataclasses import dataclass

FAILED = 3  # exit code of a grid that ended with failed nodes


@dataclass(frozen=True)
class Options:
    """The command line, after parsing."""

    executor: str = "ray"
    resume: bool = True
    retry_failed: bool = False
    budget: float | None = None
    allow_cpu: bool = False
    as_json: bool = False
    share: bool = False
    workers: tuple[int, ...] = ()
    port: int | None = None
    charts: bool = False
    against: str | None = None
    hardware: str | None = None
    only: tuple[str, ...] = ()
    thumbnails: bool | None = None
