"""Attention of long sequences: in blocks the same as whole, in less memory, under every engine."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.nn import _attention
from tests.engine._problem import one_step, problem, relative_distance, update


def _given(length, masks, dtype=jnp.float32):
  keys = jax.random.split(jax.random.key(length), 4)
  mask = jax.random.bernoulli(keys[3], 0.7, (2, 1, masks, length)).at[..., 0].set(True)
  return *(jax.random.normal(key, (2, length, 3, 4), dtype) for key in keys[:3]), mask


def _both(monkeypatch, block, function, *args):
  monkeypatch.setattr(_attention, "BLOCK", 10**6)
  whole = function(*args)
  monkeypatch.setattr(_attention, "BLOCK", block)
  return whole, function(*args)


@pytest.mark.parametrize("length", [8, 9, 23])
@pytest.mark.parametrize("rows", ["one", "each"])
def test_blocks_and_the_whole_agree_with_their_gradients(monkeypatch, length, rows):
  *values, mask = _given(length, 1 if rows == "one" else length)

  def both(values):
    found, back = jax.vjp(lambda *values: _attention.attend(*values, mask), *values)
    return found, back(jnp.cos(jnp.arange(found.size, dtype=found.dtype)).reshape(found.shape))

  whole, blocks = _both(monkeypatch, 4, both, values)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), whole, blocks)


def test_blocks_keep_the_dtype_of_the_values(monkeypatch):
  whole, blocks = _both(monkeypatch, 4, _attention.attend, *_given(9, 1, jnp.bfloat16))
  assert whole.dtype == blocks.dtype == jnp.bfloat16
  np.testing.assert_allclose(*(x.astype(jnp.float32) for x in (whole, blocks)), atol=0.02)


def test_short_sequences_have_the_program_of_one_block():
  given = _given(16, 1)
  alone = jax.jit(_attention._attended).lower(*given).as_text()
  assert jax.jit(_attention.attend).lower(*given).as_text().replace("jit_attend", "jit__attended") == alone


def test_memory_grows_with_the_length_not_with_its_square(monkeypatch):
  """Of a step: the weights of 1024 x 1024 positions, 3 heads and 2 sequences alone are 24 MiB."""

  def memory(length):
    *values, mask = (jax.ShapeDtypeStruct(x.shape, x.dtype) for x in jax.eval_shape(lambda: _given(length, 1)))
    step = jax.grad(lambda values, mask: jnp.sum(_attention.attend(*values, mask) ** 2))
    return jax.jit(step).lower(tuple(values), mask).compile().memory_analysis().temp_size_in_bytes

  monkeypatch.setattr(_attention, "BLOCK", 64)
  short, long = memory(512), memory(1024)
  assert long < 2.2 * short and long < 8 * 2**20


class _Trunk(nn.Module):
  @nn.compact
  def __call__(self, x):
    return mtl.nn.TransformerEncoder(width=8, layers=1, heads=2)(x.reshape(len(x), 8, 2))


@pytest.mark.parametrize("engine", ["stacked", "gram", "factored", "features"])
def test_engines_see_the_gradients_of_the_whole(monkeypatch, engine):
  """Of three tasks, by a method that reads the directions of their gradients."""
  net, tasks, batch, inputs = problem(3, trunk=_Trunk())

  def run():
    before, after, _ = one_step(net, tasks, batch, inputs, mtl.balance.pcgrad(), getattr(mtl.engine, engine)())
    return update(before, after)

  whole, blocks = _both(monkeypatch, 3, run)
  assert relative_distance(blocks, whole) < 1e-4
