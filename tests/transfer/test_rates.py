"""Learning rates of groups, also where heads lie in one tree, and gradual unfreezing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import UserError
from mtl_jax._core.packed import packed, unpacked
from mtl_jax.transfer import rates, unfreeze

PARAMS = {"shared": {"a": jnp.ones(2), "b": jnp.ones(3)}, "task": {f"t{i}": {"w": jnp.ones(2)} for i in range(4)}}


def factors(tx, params=PARAMS, steps=1):
  state = tx.init(params)
  update = jax.jit(tx.update)
  for _ in range(steps):
    updates, state = update(params, state)
  return jax.tree.map(lambda leaf: float(leaf[0]), unpacked(updates))


def test_the_first_pattern_counts():
  found = factors(rates({"shared/a": 0.5, "shared/": 0.25, r"task/t[12]/": 2.0}))
  assert found["shared"] == {"a": 0.5, "b": 0.25}
  assert {name: head["w"] for name, head in found["task"].items()} == {"t0": 1.0, "t1": 2.0, "t2": 2.0, "t3": 1.0}


def test_heads_in_one_tree_keep_their_own():
  tx = rates({r"task/t[12]/": 2.0, "task/t3/": lambda count: 0.5 * count.astype(jnp.float32)})
  together = PARAMS | {"task": packed(PARAMS["task"], [("t0", "t1", "t2"), ("t3",)])}
  assert factors(tx, together, steps=3) == factors(tx, PARAMS, steps=3)


def test_unfreezing():
  tx = rates({"shared/": unfreeze(2)})
  assert [factors(tx, steps=n)["shared"]["a"] for n in (1, 2, 3, 4)] == [0, 0, 1, 1]


def test_it_scales_what_the_optimizer_before_it_makes():
  tx, plain = optax.chain(optax.adam(0.1), rates({"shared/": 0.5})), optax.adam(0.1)
  with jax.numpy_dtype_promotion("standard"):
    found, expected = (now.update(PARAMS, now.init(PARAMS))[0] for now in (tx, plain))
  np.testing.assert_allclose(found["shared"]["a"], 0.5 * expected["shared"]["a"], rtol=1e-6)
  np.testing.assert_array_equal(found["task"]["t0"]["w"], expected["task"]["t0"]["w"])


@pytest.mark.parametrize(
  ("pattern", "message"),
  [("trunk/", "rates: no parameter matches 'trunk/': there are shared/a, "), ("(", "rates: '\\(' is no regular")],
)
def test_patterns_in_vain(pattern, message):
  with pytest.raises(UserError, match=message):
    rates({pattern: 0.1}).init(PARAMS)


def test_rates_on_a_mesh():
  """Where optimizer state lies is found out by optax, which asks for the state of no parameters."""
  params = {"shared": {"w": jnp.ones((4, 2))}}
  tx = optax.chain(optax.adam(1.0), rates({"shared": 0.5}))
  with pytest.raises(UserError, match="no parameter matches 'nowhere'"):
    rates({"nowhere": 0.5}).init(params)
  placed = optax.tree.map_params(tx, lambda leaf: "like one", tx.init(params), transform_non_params=lambda _: 0)
  assert jax.tree.leaves(placed) == [0, "like one", "like one", 0]
