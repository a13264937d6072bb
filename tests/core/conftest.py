"""Fixtures of the tests of core/: one thread, and a toy problem that a tiny quantized network has memorised."""

import pytest
import torch

from tests.core.toy_problem import fresh_problem


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def problem(one_thread):
    """24 images to forget, 72 to retain, and a narrow 4w4a ResNet-18 that knows them all."""
    return fresh_problem()
