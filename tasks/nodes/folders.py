"""Where a machine keeps images: the folders of a place, or the user's own."""

from pathlib import Path


def data_folders(data_root: str | None, cache: str | None) -> tuple[Path, Path]:
    """The folder of the data sets and that of decoded images; None stands for one in the user's cache folder."""
    root = Path(data_root) if data_root else _user_cache() / "data"
    return root, Path(cache) if cache else _user_cache() / "decoded"


def _user_cache() -> Path:
    # not on every GPU image, and not needed where both folders are named
    from platformdirs import user_cache_path

    return user_cache_path("unlearn-grid")
