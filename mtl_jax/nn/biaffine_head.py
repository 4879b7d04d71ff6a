"""A head that scores each word of a sentence as the head of each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.nn._padded import kept, packed
from mtl_jax.shard import constrain


class BiaffineHead(nn.Module):
  r"""Scores of arcs between the words of a sentence, and of their relations: what `mtl.tasks.dependencies` takes.

  $$ a_{ij} = (U d_i + w) \cdot h_j, \qquad u_{ir} \cdot v_j = (V_r d'_i + b_r) \cdot [h'_j, 1] $$

  with $d_i, h_i, d'_i, h'_i$ each a dense layer of the features of position i. Words have heads in their own sentence
  only, but not themselves; the root is a learned vector.

  Attributes:
    num_relations: The number R of relations.
    width: The width of d and h.
    relation_width: That of d' and h'.
    activation: Of the dense layers.
    dropout: The share of what it gets and of d, h, d' and h' that is set to zero when training, in [0, 1).

  >>> head = BiaffineHead(7, width=8, relation_width=4)
  >>> y, _ = jax.eval_shape(head.init_with_output, jax.random.key(0), {"x": jnp.ones((2, 5, 4))})
  >>> y["arc"].shape, y["dependent"].shape, y["head"].shape
  ((2, 5, 6), (2, 5, 7, 5), (2, 6, 5))

  References:
    Dozat and Manning, *Deep Biaffine Attention for Neural Dependency Parsing*, ICLR 2017.
  """

  num_relations: int
  width: int = 128
  relation_width: int = 32
  activation: Callable[[jax.Array], jax.Array] = nn.relu
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x: Any, train: bool = False) -> dict[str, jax.Array]:
    """Maps features to scores.

    Args:
      x: A mapping of vectors `"x"` (B, L, D), and of a `"mask"` (B, L) or `"segments"` (B, L), which number the
        sentences of a row, 0 at padding, as sequence trunks of `mtl.nn` with `pool=None` give it.
      train: Whether values are dropped, as in training.

    Returns:
      `arc` (B, L, L + 1), the scores of the root and of each position as head, the least number of the dtype where the
      position is no word of the sentence; `dependent` u (B, L, R, E) and `head` v (B, L + 1, E), of whose products
      relations are told.

    Raises:
      UserError: The input is no such features.
    """
    x, mask, segments = packed("BiaffineHead", x, ("x",))
    if x.ndim != 3:
      found = x.shape
      raise UserError(f"BiaffineHead: the input has shape {found}, expected vectors (B, L, D): a trunk with pool=None.")
    size, length, width = x.shape
    root = self.param("root", nn.initializers.normal(1.0), (width,), x.dtype)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    words = drop(kept(x, mask))
    heads = jnp.concatenate([jnp.broadcast_to(root[None, None], (size, 1, width)), words], axis=1)

    def dense(features, given, name):
      return drop(constrain(self.activation(nn.Dense(features, name=name)(given))))

    dependent, head = dense(self.width, words, "arc_dependent"), dense(self.width, heads, "arc_head")
    arc = jnp.einsum("bid,bjd->bij", nn.Dense(self.width, name="arc")(dependent), head)
    same = (segments[:, :, None] == segments[:, None]) & ~jnp.eye(length, dtype=bool)[None]
    possible = jnp.pad(same, ((0, 0), (0, 0), (1, 0)), constant_values=True) & mask[:, :, None]
    arc = jnp.where(possible, arc, jnp.finfo(arc.dtype).min)
    dependent = dense(self.relation_width, words, "relation_dependent")
    head = dense(self.relation_width, heads, "relation_head")
    rank = self.relation_width + 1
    dependent = nn.Dense(self.num_relations * rank, name="relation")(dependent)
    head = jnp.pad(head, ((0, 0), (0, 0), (0, 1)), constant_values=1)
    return {"arc": arc, "dependent": dependent.reshape(size, length, self.num_relations, rank), "head": head}
