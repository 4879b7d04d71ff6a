"""Training on eight devices is training on one."""

import pytest

from tests._launch import found_by
from tests.train._devices import LONG, METHODS

pytestmark = pytest.mark.slow  # processes of its own


@pytest.fixture(scope="module")
def found():
  return found_by("tests.train._devices")


@pytest.mark.parametrize("case", [" ".join(case) for case in LONG])
def test_five_steps_give_the_parameters_of_one_device(found, case):
  assert found["five"][case] < 2e-5  # float32 sums in another order


@pytest.mark.parametrize("kind", METHODS)
def test_a_method_of_every_kind(found, kind):
  assert found["methods"][kind] < 2e-3  # one step: rounding of the solvers' weights, as between engines


def test_a_whole_run_ends_alike(found):
  """The validation losses after five steps, dropout and batch statistics included."""
  assert found["fit"] < 1e-5  # float32 sums in another order
