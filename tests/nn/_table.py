"""All built-in modules, for the tests that each must pass, and weights and inputs for them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mtl_jax as mtl


def floats(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.float32)


def ints(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.int32)


def bools(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.bool_)


IMAGES = floats(3, 13, 11, 2)


class Case(NamedTuple):
  """A module.

  Attributes:
    module: It.
    y: Shapes and dtypes of what it gives.
    x: Those of an input.
  """

  module: Any
  y: Any
  x: Any = IMAGES


LONG, NODES = 7, 6
TOKENS = {"tokens": ints(3, LONG), "mask": bools(3, LONG)}
VECTORS = {"x": floats(3, LONG, 5), "mask": bools(3, LONG)}
KINDS = {"nodes": ints(3, NODES), "edges": ints(3, NODES, NODES), "mask": bools(3, NODES)}
GRAPHS = {"nodes": floats(3, NODES, 5), "edges": floats(3, NODES, NODES, 2), "mask": bools(3, NODES)}
PIXELS = floats(3, 8, 12, 2)

encoder = mtl.nn.TransformerEncoder(vocabulary=9, width=8, layers=2, heads=2, max_length=10)
vectors = encoder.clone(vocabulary=None, positions="sinusoidal", pool="first")
ROWS = {"numbers": floats(3, 2), "missing": bools(3, 2), "words": ints(3, 2), "tokens": ints(3, 1, LONG)}

columns = mtl.nn.Columns(np.array([[-1.0, 0, 2]] * 2), np.array([[-1.0, 0, 1]] * 2), (1,), (4, 6), (5,), width=4)
bert = mtl.nn.Bert(vocabulary=9, width=8, layers=2, heads=2, max_length=10)
recurrent = mtl.nn.RecurrentEncoder(vocabulary=9, characters=5, width=8, layers=2, embedding=6, filters=4)
SPELLED = {**TOKENS, "characters": ints(3, LONG, 4)}

graphs = mtl.nn.MessagePassing(atoms=9, bonds=4, width=8, layers=2)

TABLE: dict[str, Case] = {
  "mlp": Case(mtl.nn.MLP((8, 6)), floats(3, 6)),
  "mlp head": Case(mtl.nn.MLP((8,), out=5), floats(3, 5)),
  "linear": Case(mtl.nn.MLP((), out=5), floats(3, 5)),
  "flat": Case(mtl.nn.MLP(()), floats(3, 13 * 11 * 2)),
  "positions": Case(mtl.nn.MLP((8,), out=5, flatten=False), floats(3, 13, 11, 5)),
  "cnn": Case(mtl.nn.CNN((4, 6), features=7), floats(3, 7)),
  "cnn strided": Case(mtl.nn.CNN((4, 6), features=7, strides=2, pool=1), floats(3, 7)),
  "cnn mean": Case(mtl.nn.CNN((4, 6), features=None), floats(3, 6)),
  "cnn deep": Case(mtl.nn.CNN((4,) * 6, features=7), floats(3, 7)),
  "resnet": Case(mtl.nn.ResNet((1, 1), width=4), floats(3, 8)),
  "resnet small": Case(mtl.nn.ResNet((1, 2), width=4, small_images=True), floats(3, 8)),
  "resnet pre": Case(mtl.nn.ResNet((1, 1), width=4, preactivation=True), floats(3, 8)),
  "resnet bottleneck": Case(mtl.nn.ResNet((1, 2), width=2, bottleneck=True), floats(3, 16)),
  "patches": Case(mtl.nn.Patches(4), floats(3, 6, 32), PIXELS),
  "pixels": Case(mtl.nn.Pixels((0.5, 0.4), 0.2), PIXELS, PIXELS),
  "segnet": Case(mtl.nn.SegNet((4, 6), (1, 2)), floats(3, 8, 12, 4), PIXELS),
  "count head": Case(mtl.nn.CountHead(width=4), floats(3)),
  "image head": Case(mtl.nn.ImageHead(2, width=4), floats(3, 2)),
  "detection head": Case(mtl.nn.DetectionHead(3, width=4), floats(3, 13, 11, 7)),
  "unet": Case(mtl.nn.UNet((4, 6)), floats(3, 8, 12, 4), PIXELS),
  "unet strided": Case(mtl.nn.UNet((4, 6), stride=2), floats(3, 4, 6, 4), PIXELS),
  "dense head": Case(mtl.nn.DenseHead(5, (4,), scale=2), floats(3, 16, 24, 5), PIXELS),
  "columns": Case(columns, floats(3, 2 + 1 + 3 * 4), ROWS),
  "columns periodic": Case(columns.clone(periodic=3, frequencies=5), floats(3, 2 + 1 + 2 * 3 + 3 * 4), ROWS),
  "tabular resnet": Case(mtl.nn.TabularResNet(8, blocks=2), floats(3, 8), floats(3, 5)),
  "transformer": Case(encoder, floats(3, 8), TOKENS),
  "transformer no mask": Case(encoder, floats(3, 8), ints(3, LONG)),
  "transformer vectors": Case(vectors, floats(3, 8), VECTORS),
  "transformer set": Case(vectors.clone(positions=None, pool="mean", remat=True), floats(3, 8), floats(3, LONG, 5)),
  "transformer whole": Case(encoder.clone(pool=None), {"x": floats(3, LONG, 8), "mask": bools(3, LONG)}, TOKENS),
  "bert": Case(bert, floats(3, 8), TOKENS),
  "bert no mask": Case(bert.clone(pool="first"), floats(3, 8), ints(3, LONG)),
  "bert whole": Case(bert.clone(pool=None), {"x": floats(3, LONG, 8), "mask": bools(3, LONG)}, TOKENS),
  "temporal conv": Case(mtl.nn.TemporalConv((4, 6)), floats(3, 6), VECTORS),
  "temporal conv causal": Case(mtl.nn.TemporalConv((4, 4), causal=True, pool="last"), floats(3, 4), VECTORS),
  "temporal conv whole": Case(
    mtl.nn.TemporalConv((4, 4), pool=None), {"x": floats(3, LONG, 4), "mask": bools(3, LONG)}, VECTORS
  ),
  "log mel": Case(
    mtl.nn.LogMel(8000, bands=6),
    {"x": floats(3, 5, 6), "mask": bools(3, 5)},
    {"wave": floats(3, 450), "length": ints(3)},
  ),
  "spec augment": Case(mtl.nn.SpecAugment(3, 4, runs=2), {"x": floats(3, LONG, 5), "mask": bools(3, LONG)}, VECTORS),
  "sequence head": Case(mtl.nn.SequenceHead(7, (4,)), {"x": floats(3, LONG, 7), "mask": bools(3, LONG)}, VECTORS),
  "recurrent": Case(recurrent, floats(3, 8), SPELLED),
  "recurrent gru": Case(
    recurrent.clone(vocabulary=None, characters=None, cell="gru", pool="last"), floats(3, 8), VECTORS
  ),
  "recurrent whole": Case(recurrent.clone(pool=None), {"x": floats(3, LONG, 8), "mask": bools(3, LONG)}, SPELLED),
  "embeddings": Case(mtl.nn.Embeddings((4, 4), 5), floats(3, 2, 5), ints(3, 2)),
  "graphs": Case(graphs, floats(3, 8), KINDS),
  "graphs vectors": Case(graphs.clone(atoms=None, bonds=None, pool="mean"), floats(3, 8), GRAPHS),
  "graphs whole": Case(graphs.clone(pool=None), {"nodes": floats(3, NODES, 8), "mask": bools(3, NODES)}, KINDS),
}
PADDED = [name for name, case in TABLE.items() if isinstance(case.x, dict) and "mask" in case.x]


def is_float(leaf):
  return jnp.issubdtype(leaf.dtype, jnp.floating)


def cast(tree, dtype):
  """The tree with floats of another dtype."""
  return jax.tree.map(lambda a: a.astype(dtype) if is_float(a) else a, tree)


def like(tree, dtype):
  """The same for shapes."""
  return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, dtype if is_float(a) else a.dtype), tree)


def kinds(tree):
  return jax.tree.map(lambda a: (a.shape, a.dtype), tree)


def filled(net, x):
  """Random weights and state for a net. Initializers take seconds to compile."""
  rng = np.random.default_rng(0)
  params, state = jax.eval_shape(net.init, jax.random.key(0), x)
  params = jax.tree.map(lambda a: jnp.asarray(0.4 * rng.standard_normal(a.shape), a.dtype), params)
  return params, jax.tree.map(lambda a: jnp.asarray(rng.uniform(0.5, 1.5, a.shape), a.dtype), state)


def weighted(module, x):
  """The jitted apply of a module, and weights and state for it."""
  net = mtl.from_linen(module)
  return jax.jit(net.apply, static_argnames="train"), *filled(net, x)


def inputs(like, lengths=(4, 1, 6)):
  """A random input of these shapes: a tree, or the shape of one array of floats. Masks have these lengths."""
  rng = np.random.default_rng(1)

  def one(leaf):
    if leaf.dtype == jnp.bool_:
      return jnp.arange(leaf.shape[1])[None] < jnp.asarray(lengths)[:, None]
    return jnp.asarray(
      rng.standard_normal(leaf.shape) if is_float(leaf) else rng.integers(0, 4, leaf.shape), leaf.dtype
    )

  return jax.tree.map(one, floats(*like) if isinstance(like, tuple) else like)
