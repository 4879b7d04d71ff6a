"""What is done to the frames of a sequence before the trunk: runs dropped, neighbours laid side by side."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.nn._padded import kept, read


class SpecAugment(nn.Module):
  """Sets runs of bands and of frames to 0, the mean of normalised features, when training; without parameters.

  Attributes:
    bands: The most bands of a run, which is of 0 to so many.
    frames: The most frames of a run.
    runs: The number of runs of each kind.

  >>> y = SpecAugment(4, 5).apply({}, {"x": jnp.ones((2, 9, 8)), "mask": jnp.ones((2, 9), bool)})
  >>> y["x"].min().item()  # not training
  1.0

  References:
    Park et al., *SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition*, 2019. Deviation: no
    warping of time.
  """

  bands: int = 8
  frames: int = 10
  runs: int = 1

  @nn.compact
  def __call__(self, x: Any, train: bool = False) -> dict[str, jax.Array]:
    """Drops runs.

    Args:
      x: `{"x": (B, L, D), "mask": (B, L)}`, or (B, L, D).
      train: Whether to drop any.

    Returns:
      The same.
    """
    values, mask = read("SpecAugment", x, ("x",))
    if train:
      keys = jax.random.split(self.make_rng("dropout"), 2 * self.runs)
      for i in range(self.runs):
        for key, axis, most in ((keys[2 * i], 1, self.frames), (keys[2 * i + 1], 2, self.bands)):
          values = jnp.where(_run(key, values.shape, axis, most), 0, values)
    return {"x": kept(values, mask), "mask": mask}


def _run(key: jax.Array, shape: tuple[int, ...], axis: int, most: int) -> jax.Array:
  """Where a run of 0 to `most` entries is along an axis, one for each example."""
  size, start = jnp.unstack(jax.random.uniform(key, (2, shape[0], 1)))
  length = jnp.floor(size * (most + 1))
  begin = jnp.floor(start * (jnp.maximum(shape[axis] - length, 0) + 1))
  at = jnp.arange(shape[axis], dtype=jnp.float32)[None]
  found = (at >= begin) & (at < begin + length)
  return jnp.expand_dims(found, 3 - axis)


class StackFrames(nn.Module):
  """Lays neighbouring frames of a sequence side by side, so that it is shorter; without parameters.

  Attributes:
    count: How many frames become one.

  >>> y = StackFrames(2).apply({}, jnp.ones((3, 5, 4)))
  >>> y["x"].shape, y["mask"].shape
  ((3, 3, 8), (3, 3))
  """

  count: int = 2

  @nn.compact
  def __call__(self, x: Any) -> dict[str, jax.Array]:
    """Stacks frames.

    Args:
      x: `{"x": (B, L, D), "mask": (B, L)}`, or (B, L, D).

    Returns:
      The same with ceil(L / count) frames of count D values; zeros where frames are missing.
    """
    values, mask = read("StackFrames", x, ("x",))
    size, length, width = values.shape
    more = -length % self.count
    values, mask = jnp.pad(kept(values, mask), ((0, 0), (0, more), (0, 0))), jnp.pad(mask, ((0, 0), (0, more)))
    shape = (size, (length + more) // self.count, self.count)
    return {"x": values.reshape(*shape[:2], self.count * width), "mask": mask.reshape(shape).any(axis=2)}
