"""Choices that are soft and random while a net searches, and fixed afterwards."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax._core.schedule import at_step
from mtl_jax.terms import Strength


def cooling(step: jax.Array) -> jax.Array:
  """A temperature that falls from 5 to 0.5 in 10 000 steps, and stays there."""
  return 5.0 * 0.1 ** jnp.minimum(jnp.asarray(step, jnp.float32) / 10_000, 1)


def temperature_of(arch: str, given: Strength | None) -> Strength:
  """The temperature that is given, or `cooling`.

  Raises:
    UserError: A number that is not positive.
  """
  if isinstance(given, int | float) and given <= 0:
    raise UserError(f"{arch}: temperature is {given}, expected above 0, or a function of the step.")
  return cooling if given is None else given


def chosen(logits: jax.Array, temperature: Strength, key: Any, train: bool, step: Any) -> jax.Array:
  r"""Weights of options, $softmax((\ell + g) / \tau)$ with Gumbel noise g, over the last axis.

  Outside of training, and without a step, all weight is on the largest logit, the first of equal ones.

  Returns:
    The weights, float32.
  """
  logits = logits.astype(jnp.float32)
  if not train or step is None:
    return jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=jnp.float32)
  noise = jnp.zeros_like(logits) if key is None else jax.random.gumbel(key, logits.shape)
  return jax.nn.softmax((logits + noise) / jnp.asarray(at_step(temperature, step), jnp.float32))
