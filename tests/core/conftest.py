"""Fixtures of the tests of core/: one thread, and a toy problem that a tiny quantized network has memorised."""

import copy
from dataclasses import replace

import pytest
import torch
from toy_problem import memorised_problem


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def _memorised(one_thread):
    return memorised_problem("resnet18")


@pytest.fixture
def problem(_memorised):
    """24 images to forget, 72 to retain, and a narrow 4w4a ResNet-18 that knows them all."""
    return replace(_memorised, model=copy.deepcopy(_memorised.model))
