"""The same step on eight devices, divided by the compiler or written for one of them, is the step on one."""

import pytest

from tests._launch import found_by
from tests.engine._devices import CASES

pytestmark = pytest.mark.slow  # processes of its own


@pytest.fixture(scope="module")
def distances():
  return found_by("tests.engine._devices")


@pytest.mark.parametrize("case", [" ".join(case) for case in CASES])
def test_eight_devices_take_the_step_of_one(distances, case):
  # Sums in another order; gradients before batch normalisation are small differences; sdmgrad's 20 inner steps at its
  # default rate enlarge rounding.
  limit = 5e-3 if case.startswith("conv") else 1e-4 if "sdmgrad" in case else 2e-5
  for way, distance in distances[case].items():
    assert distance < limit, way
