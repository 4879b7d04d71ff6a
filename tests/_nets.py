"""One small multi-task network with the same weights in Linen, NNX and Equinox."""

import functools

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import mtl_jax as mtl

FEATURES, HIDDEN, OUTPUTS = 3, 4, {"a": 2, "b": 1}
LIBRARIES = ("linen", "nnx", "equinox")


class LinenTrunk(nn.Module):
  """Dense, BatchNorm, tanh, Dropout, Dense."""

  dropout: float = 0.0

  @nn.compact
  def __call__(self, x, train: bool):
    x = nn.Dense(HIDDEN, name="first")(x)
    x = jnp.tanh(nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x))
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.Dense(HIDDEN, name="second")(x)


class NnxTrunk(nnx.Module):
  """The same in NNX."""

  def __init__(self, rngs: nnx.Rngs, dropout: float = 0.0):
    self.first = nnx.Linear(FEATURES, HIDDEN, rngs=rngs)
    self.norm = nnx.BatchNorm(HIDDEN, momentum=0.9, rngs=rngs)
    self.dropout = nnx.Dropout(dropout, rngs=rngs)
    self.second = nnx.Linear(HIDDEN, HIDDEN, rngs=rngs)

  def __call__(self, x):
    return self.second(self.dropout(jnp.tanh(self.norm(self.first(x)))))


class EquinoxTrunk(eqx.Module):
  """The same in Equinox, on one example."""

  first: eqx.nn.Linear
  norm: eqx.nn.BatchNorm
  dropout: eqx.nn.Dropout
  second: eqx.nn.Linear

  def __init__(self, key, dropout: float = 0.0, mode="batch"):
    first, second = jax.random.split(key)
    self.first = eqx.nn.Linear(FEATURES, HIDDEN, key=first)
    self.norm = eqx.nn.BatchNorm(HIDDEN, "batch", momentum=0.9, mode=mode)
    self.dropout = eqx.nn.Dropout(dropout)
    self.second = eqx.nn.Linear(HIDDEN, HIDDEN, key=second)

  def __call__(self, x, state, key=None):
    x, state = self.norm(self.first(x), state)
    return self.second(self.dropout(jnp.tanh(x), key=key)), state


def trunk(library: str, dropout: float = 0.0) -> mtl.Net:
  """The trunk as a `Net`."""
  if library == "linen":
    return mtl.from_linen(LinenTrunk(dropout))
  if library == "nnx":
    return mtl.from_nnx(lambda rngs: NnxTrunk(rngs, dropout))
  return mtl.from_equinox(lambda key: eqx.nn.make_with_state(EquinoxTrunk)(key, dropout))


def head(library: str, size: int) -> mtl.Net:
  """A linear head as a `Net`."""
  if library == "linen":
    return mtl.from_linen(nn.Dense(size))
  if library == "nnx":
    return mtl.from_nnx(lambda rngs: nnx.Linear(HIDDEN, size, rngs=rngs))
  return mtl.from_equinox(lambda key: eqx.nn.Linear(HIDDEN, size, key=key))


def multi_task(library: str, dropout: float = 0.0) -> mtl.Net:
  """Trunk and heads joined by hard sharing."""
  return mtl.arch.hard_sharing(trunk(library, dropout), {name: head(library, n) for name, n in OUTPUTS.items()})


def to_linen(library: str, params):
  """Parameters, or anything laid out like them, in Linen's layout: kernels (in, out), whatever leads those axes."""
  if library == "linen":
    return params

  def dense(layer):
    if library == "nnx":
      return {"kernel": layer["kernel"], "bias": layer["bias"]}
    return {"kernel": jnp.swapaxes(layer.weight, -1, -2), "bias": layer.bias}

  def norm(layer):
    if library == "nnx":
      return {"scale": layer["scale"], "bias": layer["bias"]}
    return {"scale": layer.weight, "bias": layer.bias}

  shared = params["shared"]
  get = shared.get if library == "nnx" else lambda name: getattr(shared, name)
  return {
    "shared": {"first": dense(get("first")), "norm": norm(get("norm")), "second": dense(get("second"))},
    "task": {name: dense(layer) for name, layer in params["task"].items()},
  }


def from_linen_params(library: str, linen, params):
  """`params` of a library with the values of the Linen parameters `linen`."""
  if library == "linen":
    return linen
  leaves, treedef = jax.tree.flatten(params)
  # The inverse of to_linen, found by sending each leaf's own number through it.
  numbered = jax.tree.unflatten(treedef, [jnp.full(leaf.shape, i) for i, leaf in enumerate(leaves)])
  found = {
    int(np.ravel(number)[0]): value
    for number, value in zip(jax.tree.leaves(to_linen(library, numbered)), jax.tree.leaves(linen), strict=True)
  }
  values = [found[i].T if library == "equinox" and leaf.ndim == 2 else found[i] for i, leaf in enumerate(leaves)]
  return jax.tree.unflatten(treedef, values)


def batch(size: int = 6, seed: int = 0) -> dict:
  """Inputs and the labels of both tasks: classes and real values."""
  rng = np.random.default_rng(seed)
  return {
    "x": rng.normal(size=(size, FEATURES)).astype(np.float32),
    "a": rng.integers(0, 2, size).astype(np.int32),
    "b": rng.normal(size=size).astype(np.float32),
  }


def tasks() -> dict[str, mtl.Task]:
  """Both tasks of `batch`."""
  return {"a": mtl.tasks.classification("a", 2), "b": mtl.tasks.regression("b")}


KEY = jax.random.key(0)
X = jnp.asarray(batch()["x"])
every_library = pytest.mark.parametrize("library", LIBRARIES)


def close(a, b, rtol=1e-5, atol=1e-6):
  """Equal but for rounding: float32 sums of a handful of terms in another order, a few ulp."""
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


def same(a, b):
  """Equal to the bit."""
  jax.tree.map(np.testing.assert_array_equal, a, b)


def differ(a, b) -> bool:
  """Whether any leaf differs."""
  return any(not np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@functools.cache
def start(library: str, dropout: float = 0.0):
  """The multi-task net and what its init gives: compiled once for all tests."""
  net = multi_task(library, dropout)
  return net, *net.init(KEY, X)


@functools.cache
def task_gradients(library: str, *, train: bool = True, compute_dtype=None):
  """Losses, their stacked gradients in Linen's layout, and the state after, all libraries at Linen's weights."""
  net, params, state = start(library)
  params = from_linen_params(library, start("linen")[1], params)
  losses = mtl.objective(net, tasks(), train=train, compute_dtype=compute_dtype)

  def stacked(params):
    by_name, aux = losses(params, state, batch(), KEY)
    vector = jnp.stack([by_name["a"], by_name["b"]])
    return vector, (vector, aux["state"])

  gradients, (values, after) = jax.jit(jax.jacrev(stacked, has_aux=True))(params)
  return values, to_linen(library, gradients), after
