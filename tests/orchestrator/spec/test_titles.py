"""What people read: titles of networks and data sets, and how many images a grid uses."""

import pytest

from core.data import DATASETS
from core.models import MODELS
from orchestrator.spec import titles
from orchestrator.spec.specification import GridSpec
from tests.one_problem import digits


def spec(limit=None):
    return GridSpec.model_validate(digits().model_dump() | {"data": {"limit": limit}})


@pytest.mark.parametrize("name", [*MODELS, *DATASETS])
def test_every_network_and_data_set_has_a_title(name):
    assert titles.title(name) != name


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("folder:flowers", "flowers"),
        ("folder:flowers:128", "flowers, 128 px"),
        ("tv:swin_t", "swin_t"),
        ("tv", "tv"),
    ],
)
def test_what_no_registry_holds_goes_by_its_own_name(name, title):
    assert titles.title(name) == title


@pytest.mark.parametrize(
    ("dataset", "limit", "said"),
    [
        ("mnist", None, "60,000 training and 10,000 test images"),
        ("organamnist", {"train": 300}, "300 of 34,561 training and 17,778 test images"),
        ("folder:flowers", None, "all training and all test images"),
        ("folder:flowers", {"test": 2000}, "all training and at most 2,000 test images"),
    ],
)
def test_how_many_images(dataset, limit, said):
    assert titles.images(dataset, spec(limit)) == said
