"""The columns of a table as a vector, by a formula in numpy; errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from tests.nn._table import ROWS, TABLE, floats, inputs, weighted


def test_against_numpy():
  module = TABLE["columns periodic"].module
  apply, params, state = weighted(module, ROWS)
  x = inputs(ROWS)
  numbers, missing, words, tokens = (np.asarray(x[key]) for key in ("numbers", "missing", "words", "tokens"))
  z = np.stack([np.interp(numbers[:, f], module.knots[f], module.heights[f]) for f in range(2)], axis=1)
  z = np.where(missing, 0, z)
  p = jax.tree.map(np.asarray, params)
  waves = 2 * np.pi * z[:, :, None] * p["frequencies"]
  waves = np.concatenate([np.cos(waves), np.sin(waves)], axis=-1)
  made = np.maximum(np.stack([waves[:, f] @ p["kernel"][f] + p["bias"][f] for f in range(2)], axis=1), 0)
  vectors = [p["words"]["table"][words[:, 0]], p["words"]["table"][4 + words[:, 1]]]
  there = tokens[:, 0] != 0
  mean = np.stack(
    [
      p["tokens"]["table"][t[m]].mean(axis=0) if m.any() else np.zeros(4)
      for t, m in zip(tokens[:, 0], there, strict=True)
    ]
  )
  expected = np.concatenate([z, missing[:, 1:], made.reshape(3, -1), *vectors, mean], axis=1)
  np.testing.assert_allclose(apply(params, state, x)[0], expected, rtol=1e-5, atol=1e-5)


def test_what_is_missing_does_not_count():
  apply, params, state = weighted(TABLE["columns"].module, ROWS)
  x = inputs(ROWS)
  other = {**x, "numbers": jnp.where(x["missing"], 1e30, x["numbers"])}
  np.testing.assert_array_equal(apply(params, state, x)[0], apply(params, state, other)[0])


@pytest.mark.parametrize(
  ("x", "line"),
  [
    (floats(3, 2), "Columns: the input is .*, expected a mapping with 'numbers'"),
    ({"numbers": ROWS["numbers"]}, "Columns: the input is the entries 'numbers', expected a mapping with 'missing'"),
    ({**ROWS, "words": floats(3, 3)}, "Columns: 'words' has shape .3, 3., expected"),
  ],
)
def test_what_it_refuses(x, line):
  with pytest.raises(mtl.UserError, match=line):
    jax.eval_shape(TABLE["columns"].module.init, jax.random.key(0), x)


def test_only_numbers():
  module = mtl.nn.Columns(np.array([[0.0, 1.0]]), np.array([[-1.0, 1.0]]))
  y, params = module.init_with_output(
    jax.random.key(0), {"numbers": jnp.array([[0.5], [7.0]]), "missing": jnp.zeros((2, 1), bool)}
  )
  assert y.tolist() == [[0.0], [1.0]] and not jax.tree.leaves(params)
