"""The transformer encoder: formula, published size, positions, recomputation."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import mtl_jax as mtl
from tests.nn._table import TABLE, filled, floats, inputs, weighted


def test_layer_is_the_formula():
  """With the attention of Flax, and the same parameters."""
  module = TABLE["transformer vectors"].module
  given = {"x": inputs((3, 7, 8)), "mask": inputs(TABLE["transformer"].x)["mask"]}
  net = mtl.nn.stages(module)[1]
  params, state = filled(net, given)
  own = params["layer_0"]

  def normalised(p, x):
    return nn.LayerNorm().apply({"params": p}, x)

  joined, out = own["attention"]["query_key_value"], own["attention"]["out"]
  kernels = jnp.moveaxis(joined["kernel"].reshape(8, 3, 2, 4), 1, 0)
  biases = joined["bias"].reshape(3, 2, 4)
  attention = {
    name: {"kernel": kernel, "bias": bias}
    for name, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True)
  }
  attention["out"] = {"kernel": out["kernel"].reshape(2, 4, 8), "bias": out["bias"]}

  @jax.jit
  def expected(given):
    x, mask = given["x"], given["mask"]
    layer = nn.MultiHeadDotProductAttention(2)
    x = x + layer.apply({"params": attention}, normalised(own["norm_0"], x), mask=mask[:, None, None])
    hidden = nn.gelu(nn.Dense(32).apply({"params": own["Dense_0"]}, normalised(own["norm_1"], x)))
    return x + nn.Dense(8).apply({"params": own["Dense_1"]}, hidden)

  found, _ = jax.jit(net.apply)(params, state, given)
  np.testing.assert_allclose(found["x"], expected(given), rtol=1e-4, atol=1e-5)


def test_has_the_published_size():
  """ViT-B/16 without the classifier, on patches as vectors: 85.8 million, of which 768 are a token for the class."""
  module = mtl.nn.TransformerEncoder(width=768, layers=12, heads=12, max_length=197)
  params, _ = jax.eval_shape(mtl.from_linen(module).init, jax.random.key(0), floats(1, 197, 16 * 16 * 3))
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 85_798_656 - 768


def test_positions_tell_orders_apart():
  x = inputs(floats(3, 7, 5))

  def of_reversed(name, **options):
    apply, params, _ = weighted(TABLE[name].module.clone(pool="mean", **options), x)
    return apply(params, {}, x)[0], apply(params, {}, x[:, ::-1])[0]

  np.testing.assert_allclose(*of_reversed("transformer set"), rtol=1e-4, atol=1e-5)
  for positions in ("learned", "sinusoidal"):
    forth, back = of_reversed("transformer vectors", positions=positions)
    assert np.abs(forth - back).max() > 0.01


def test_sinusoids_are_those_of_the_paper():
  module = TABLE["transformer vectors"].module.clone(width=6)
  net = mtl.nn.stages(module)[0]
  params, state = jax.tree.map(jnp.zeros_like, filled(net, x := jnp.ones((1, 4, 5))))
  found = net.apply(params, state, x)[0]["x"][0, 3]
  angles = [3 / 10000 ** (i / 6) for i in (0, 2, 4)]
  np.testing.assert_allclose(found, np.ravel([[np.sin(a), np.cos(a)] for a in angles]), rtol=1e-5)


def test_recomputation_changes_no_result():
  """With dropout, whose units must be the same in both passes."""
  x = inputs(TABLE["transformer"].x)
  plain = TABLE["transformer"].module.clone(dropout=0.5, layers=1)
  _, params, _ = weighted(plain, x)

  @jax.jit
  def gradients(params, x):
    def of(module):
      net = mtl.from_linen(module)
      return jax.grad(lambda p: jnp.sum(net.apply(p, {}, x, key=jax.random.key(0), train=True)[0] ** 2))(params)

    return of(plain), of(plain.clone(remat=True))

  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *gradients(params, x))
