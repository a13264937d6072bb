"""Joining a Ray cluster, or one line that says why not: Ray itself waits half a minute or prints a traceback."""

import re
import socket
from typing import Any

from core.errors import BadInput

_ADDRESS = re.compile(r"(?P<client>ray://)?(?P<host>[\w.-]+|\[[\da-fA-F:]+\]):(?P<port>\d{1,5})")
_FOUND_BY_RAY = (None, "", "auto", "local")
_PATIENCE = 5.0  # seconds for a first sign of the other side
_TOKEN = (
    "export RAY_AUTH_MODE as on the head and, where that is token, RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH "
    "(~/.ray/auth_token unless set)"
)


def join(ray: Any, address: str | None) -> None:
    """Connects to the cluster at the address; without one, to the one Ray finds or a new one on this machine.

    Raises BadInput for what is no address, for an address where nothing listens, and for a cluster that
    does not let this process in.
    """
    _check_reachable(address)
    try:
        # log_to_driver off: workers' lines would break the progress display; failures keep their own logs
        ray.init(address=address or None, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        where = f"the cluster at {address}" if address else "the Ray cluster"
        raise BadInput(f"{where} does not let this process in: {_TOKEN} ({_first_line(error)})") from error
    except (ValueError, RuntimeError) as error:
        raise BadInput(f"cannot join the Ray cluster at {address or 'auto'}: {_first_line(error)}") from error
    except Exception as error:
        if type(error) is not Exception:  # Ray raises the plain kind where its own processes do not start
            raise
        said = _first_line(error)
        raise BadInput(
            f"Ray did not start on this machine ({said}): try again, or use --executor inline"
        ) from error


def _check_reachable(address: str | None) -> None:
    if address in _FOUND_BY_RAY:
        return
    if address.startswith(("http://", "https://")):
        raise BadInput(
            f"RAY_ADDRESS={address} is a dashboard's address, for `ray job submit --address`; "
            "a grid that joins the cluster itself takes host:6379"
        )
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise BadInput(f"RAY_ADDRESS={address} is not an address; write host:6379, or auto")
    try:
        with socket.create_connection((found["host"].strip("[]"), int(found["port"])), _PATIENCE):
            pass
    except OSError as error:
        raise BadInput(
            f"no Ray cluster answers at {address} ({error.strerror or error}): start it, "
            "or unset RAY_ADDRESS to work on this machine"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
