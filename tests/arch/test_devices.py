"""Architectures on eight devices: each has the losses of one, and experts may be divided among them."""

import pytest

from tests._launch import found_by
from tests.arch._eight import DIVIDED
from tests.arch._table import TABLE

pytestmark = pytest.mark.slow  # a process of its own


@pytest.fixture(scope="module")
def found():
  return found_by("tests.arch._eight")


@pytest.mark.parametrize("name", TABLE)
def test_a_divided_batch_has_the_losses_of_one_device(found, name):
  assert found["mesh"][name] < 1e-5


@pytest.mark.parametrize("name", [name for name in DIVIDED if name in TABLE])
def test_divided_experts_have_the_losses_of_one_device(found, name):
  distance, divided = found["experts"][name]
  assert distance < 1e-5 and divided >= 4  # kernels and biases of two layers
