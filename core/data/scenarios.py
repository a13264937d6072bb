"""What can be forgotten, and how a list of images is called."""

from typing import Literal

Scenario = Literal["random", "class", "list"]
LIST = "list:"  # begins the name of a list's scenario; what the list is called stands behind it: `list:customer.txt`


def scenario_kind(name: str) -> Scenario:
    """The kind of a scenario: `list` of `list:customer.txt`."""
    if name.startswith(LIST) or name == "list":
        return "list"
    return "class" if name == "class" else "random"


def listed_as(name: str) -> str:
    """What a list is called: `customer.txt` of `list:customer.txt`."""
    return name.removeprefix(LIST)
