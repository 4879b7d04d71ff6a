"""What `check` looks at in sources that are not in memory."""

import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.data.sample import sample


def source(x):
  return mtl.data.source.mapped({"x": x}, lambda example, rng: example)


def test_examples_are_spread_evenly():
  found, told = sample(source(np.arange(3000)))
  assert len(found["x"]) == 1000 and found["x"][:2].tolist() == [0, 3] and "every 3th example" in told
  assert sample(source(np.arange(1024))).told == ""


def test_mistakes_say_that_they_are_of_a_sample():
  x = np.zeros(3000)
  x[6] = np.nan
  with pytest.raises(
    mtl.UserError, match=r"the first in example 2: fill .* \(counted in a sample, every 3th example\)\.$"
  ):
    mtl.data.check(source(x), {})
  with pytest.raises(mtl.UserError, match="the first in example 6: fill them in or drop those examples.$"):
    mtl.data.check({"x": x}, {})
