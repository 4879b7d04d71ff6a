"""A head at every position of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax

from mtl_jax.nn._padded import kept, read
from mtl_jax.shard import constrain


class SequenceHead(nn.Module):
  r"""Dense layers at every position of a sequence, each but the last followed by ReLU.

  Attributes:
    out: The number of values at each position.
    widths: The widths of the layers before the last.

  >>> import jax.numpy as jnp
  >>> head = SequenceHead(5, (8,))
  >>> y, _ = jax.eval_shape(head.init_with_output, jax.random.key(0), jnp.ones((2, 7, 4)))
  >>> y["x"].shape, y["mask"].shape
  ((2, 7, 5), (2, 7))
  """

  out: int
  widths: Sequence[int] = ()

  @nn.compact
  def __call__(self, x: Any) -> dict[str, jax.Array]:
    """Maps features to predictions.

    Args:
      x: `{"x": (B, L, D), "mask": (B, L)}`, as trunks of sequences give that do not pool, or (B, L, D).

    Returns:
      `{"x": (B, L, out), "mask": (B, L)}`, 0 at padding, as `mtl.tasks.transcription` and `mtl.tasks.language_model`
      take it.
    """
    values, mask = read("SequenceHead", x, ("x",))
    values = kept(values, mask)
    for i, width in enumerate(self.widths):
      values = constrain(nn.relu(nn.Dense(width, name=f"Dense_{i}")(values)))
    return {"x": constrain(kept(nn.Dense(self.out, name="out")(values), mask)), "mask": mask}
