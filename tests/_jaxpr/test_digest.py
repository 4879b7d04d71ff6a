"""Digests of programs: the same for the same program, another for any other constant, however it is held."""

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._jaxpr.digest import digest


def _of(function):
  return digest(jax.make_jaxpr(function)(jnp.ones(3)))


def _makers():
  def closed_over(k):
    held = jnp.array([k, 1.0, 2.0])
    return lambda x: x * held

  def in_a_call(k):
    held = np.array([k, 1.0, 2.0], np.float32)
    return jax.jit(lambda x: x * held)

  def in_a_loop(k):
    held = jnp.array([k, 1.0, 2.0])
    return lambda x: jax.lax.fori_loop(0, 2, lambda i, y: y * held, x)

  def number(k):
    return lambda x: x * k

  def with_a_rule(k):
    @jax.custom_jvp
    def f(x):
      return x * k

    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0] * k))
    return f

  return closed_over, in_a_call, in_a_loop, number, with_a_rule


def test_constants_count_however_they_are_held():
  for make in _makers():
    assert _of(make(1.5)) == _of(make(1.5)), make
    assert _of(make(1.5)) != _of(make(1.5 + 1e-6)), make
