"""Programs that are alike run as one, and those that are not are told apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax._jaxpr.alike import merged, reached

BATCH = {"a": jnp.arange(3.0), "b": jnp.arange(3.0) ** 2, "both": jnp.ones(3)}


def program(key, by=1.0, function=jnp.tanh):
  """Reads one entry of the batch, and one that all read; closes over an array of its own."""
  own = jnp.full(3, by)
  return jax.make_jaxpr(lambda x, batch: function(x * batch[key] + own) * batch["both"] - by)(jnp.ones(3), BATCH)


def test_one_program_gives_what_each_gives():
  one = merged([program("a", 2.0), program("b", 3.0)])
  x = jnp.array([0.1, 0.2, 0.3])
  inputs = jax.tree.leaves((x, BATCH))
  for i, (key, by) in enumerate((("a", 2.0), ("b", 3.0))):
    values = [inputs[source.each[i]] if source.kind == "input" else source.each[i] for source in one.sources]
    (found,) = one.run(*values)
    np.testing.assert_allclose(found, np.tanh(x * BATCH[key] + by) - by, rtol=1e-6)
  assert sorted((source.kind, source.common) for source in one.sources) == [
    ("constant", False),
    ("input", False),
    ("input", True),
    ("input", True),
    ("number", False),
  ]


@jax.custom_vjp
def reversed_gradient(x):
  return x


reversed_gradient.defvjp(lambda x: (x, None), lambda _, g: (-g,))


def scaled_gradient(by):
  """Forward the same whatever `by` is."""
  function = jax.custom_vjp(lambda x: x)
  function.defvjp(lambda x: (x, None), lambda _, g: (by * g,))
  return function


@pytest.mark.parametrize(
  "others",
  [
    (lambda x: jnp.sum(x), lambda x: jnp.max(x)),
    (lambda x: x + 1, lambda x: x + 1 + 1),
    (lambda x: x[:2].sum(), lambda x: x[1:].sum()),
    (lambda x: jnp.sum(x), lambda x: jnp.sum(x, keepdims=True)),
    (
      lambda x: jax.lax.fori_loop(0, 2, lambda i, y: y * 2.0, x),
      lambda x: jax.lax.fori_loop(0, 2, lambda i, y: y * 3.0, x),
    ),
    (scaled_gradient(1.0), scaled_gradient(2.0)),
    (lambda x: x, lambda x: jnp.ones(3)),
    (lambda x: (x, x * 2.0)[1], lambda x: x),
  ],
)
def test_what_differs_in_more_than_operands_is_not_alike(others):
  assert merged([jax.make_jaxpr(function)(jnp.ones(3)) for function in others]) is None


def test_rules_of_a_derivative_are_kept():
  programs = [jax.make_jaxpr(lambda x, by=by: jax.nn.log_sigmoid(x) * by)(jnp.ones(3)) for by in (1.0, 2.0)]
  one = merged(programs)
  gradient = jax.grad(lambda x: one.run(x, jnp.float32(2.0))[0].sum())(jnp.zeros(3))
  np.testing.assert_allclose(gradient, 1.0)  # 2 sigmoid(0)


def test_reached_is_what_depends_on_inputs():
  constant = jnp.ones(2)
  assert reached(jax.make_jaxpr(lambda x: (x + constant, constant * 2.0, 3.0))(1.0).jaxpr) == [True, False, False]
