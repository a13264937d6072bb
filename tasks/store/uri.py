"""Store addresses: which file system one means, and what of it may be shown."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from core.errors import BadInput, unknown

_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")
_NO_SIGN = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_USUAL = ("abfs", "file", "gs", "hdfs", "memory", "s3", "sftp")  # what the complaint about others offers


def open_uri(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URI, or of a folder, and the path in it.

    Raises BadInput for a scheme nobody knows, one whose driver is not installed, an address its driver does not take,
    and signs that no place can have, or that a driver takes for a pattern. Listings are never cached: other processes
    write to the same place.
    """
    if _NO_SIGN.search(uri):
        raise BadInput(
            f"store {uri!r} holds a sign that no folder or URI can have; name another with --store"
        )
    for scheme in uri.split("://")[0].split("::") if "://" in uri else ():
        if scheme not in fsspec.available_protocols():
            raise unknown("store scheme", scheme, _USUAL)
    try:
        fs, root = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    except ImportError as error:
        raise BadInput(f"store {public(uri)}: {one_line(error, uri)} (pip install …)") from error
    except Exception as error:  # every driver has its own for an address it cannot take
        raise BadInput(f"store {public(uri)}: {one_line(error, uri)}") from error
    if not root:
        raise BadInput(f"store {public(uri)} names no place in it; write {public(uri)}NAME/FOLDER")
    pattern = next((sign for sign in "*[" if sign in str(root)), None)
    if pattern and not isinstance(fs, LocalFileSystem):
        raise BadInput(
            f"store {public(uri)}: {pattern} stands for a pattern in an address; name a place without it"
        )
    return fs, str(root)


def public(uri: str) -> str:
    """A URI without user, password and query, for messages, pages and rows."""
    return _LOGIN.sub("", uri).split("?")[0] if "://" in uri else uri


def scrub(text: str, uri: str) -> str:
    """The text without the secrets of a URI, nor of any other address with a login in it."""
    if "://" in uri:
        parts = urlsplit(uri)
        secrets = [parts.netloc.rpartition("@")[0], parts.password or "", parts.query]
        secrets += [pair.partition("=")[2] for pair in parts.query.split("&")]
        for secret in sorted((s for s in secrets if len(s) > 3), key=len, reverse=True):
            text = text.replace(secret, "…")
    return _LOGIN.sub("", text)


def one_line(error: BaseException, uri: str) -> str:
    """What an exception says, in one line without secrets."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return scrub(" ".join(said.split())[:300], uri) or type(error).__name__


def nearby(store: str) -> str:
    """A store as a command may name it from here: a folder below this one without what is above."""
    here = Path.cwd()
    path = Path(store)
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else store
