"""Networks for molecules and other small graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.nn._layer_norm import LayerNorm
from mtl_jax.nn._padded import kept, pooled, read
from mtl_jax.nn._stages import chosen
from mtl_jax.shard import constrain


class MessagePassing(nn.Module):
  r"""Layers in which every node of a graph gets a message along each edge that leads to it.

  $$ z = N(h), \quad m_v = (1 + \epsilon) z_v + \sum_{u \to v} \phi(z_u + E(e_{vu})), \quad
     h_v \leftarrow h_v + W_2 \phi(W_1 m_v + b_1) + b_2 $$

  with layer normalisation N, which also comes before pooling, a learned number $\epsilon$, and in each layer a linear
  map E of edge vectors, or a vector for each kind of edge. The order of the nodes does not count, and neither does what
  stands at padding. Computes in the dtype of its parameters and input, which must agree. What `mtl.nn.stages` gives are
  the embedding of nodes, the layers, and the pooling; between them is a mapping of `"nodes"`, (B, N, width), and of
  `"edges"`, `"mask"` and `"adjacency"`, (B, N, N), which is True for edges that are there.

  Attributes:
    atoms: The number of kinds of nodes; None: nodes are vectors.
    bonds: The number of kinds of edges, "no edge" among them; None: edges are vectors.
    width: The width of the features.
    layers: The number of layers.
    pool: `"sum"` or `"mean"` over nodes; None: no pooling, the net returns `{"nodes": (B, N, width), "mask": (B, N)}`,
      with zeros at padding.
    activation: $\phi$.
    dropout: The share of what the layers give that is set to zero when training, in [0, 1).

  >>> import jax.numpy as jnp
  >>> graphs = {"nodes": jnp.ones((2, 5, 3)), "edges": jnp.ones((2, 5, 5, 4)), "mask": jnp.ones((2, 5), bool)}
  >>> trunk = MessagePassing(width=16)
  >>> y, _ = jax.eval_shape(trunk.init_with_output, jax.random.key(0), graphs)
  >>> y.shape
  (2, 16)

  References:
    Gilmer et al., *Neural Message Passing for Quantum Chemistry*, ICML 2017.
    Xu et al., *How Powerful are Graph Neural Networks?*, ICLR 2019.
    Hu et al., *Strategies for Pre-training Graph Neural Networks*, ICLR 2020.

  Deviations: layer normalisation before each layer, in place of batch normalisation after it, which would see padding;
  residual connections.
  """

  atoms: int | None = None
  bonds: int | None = None
  width: int = 64
  layers: int = 3
  pool: str | None = "sum"
  activation: Callable[[jax.Array], jax.Array] = nn.relu
  dropout: float = 0.0

  @property
  def num_stages(self) -> int:
    """The embedding of nodes, the layers, and the pooling."""
    return self.layers + 2

  @nn.compact
  def __call__(self, x: Any, train: bool = False, stage: int | None = None) -> Any:
    """Maps graphs to features; with `stage`, through that one alone.

    Args:
      x: A mapping of `"nodes"`, vectors (B, N, F) or kinds (B, N); `"edges"`, vectors (B, N, N, E) or kinds (B, N, N),
        of which entry [b, v, u] leads from u to v, and is zero, or all zeros, where there is no edge; and, where there
        is padding, `"mask"` (B, N), False there. With `stage`, what the stage before gives.
      train: Whether features are dropped, as in training.
      stage: The number of the stage to run; None: all of them.

    Returns:
      Features (B, width), or what the stage gives.

    Raises:
      UserError: The input is no such graphs; `pool` is none of the above.
    """
    for i in chosen(self, stage):
      if i == 0:
        x = self._embed(x)
      elif i <= self.layers:
        layer = _Layer(self.bonds, self.activation, self.dropout, name=f"layer_{i - 1}")
        x = {**x, "nodes": layer(x["nodes"], x["edges"], x["adjacency"], train)}
      else:
        x = self._pool(x)
    return x

  def _embed(self, given: Any) -> dict[str, jax.Array]:
    if not isinstance(given, Mapping) or "edges" not in given:
      found = f"the entries {', '.join(map(repr, given))}" if isinstance(given, Mapping) else type(given).__name__
      raise UserError(f"MessagePassing: the input is {found}, expected a mapping of 'nodes', 'edges' and 'mask'.")
    nodes, mask = read("MessagePassing", given, ("nodes",))
    edges, pairs = given["edges"], mask[:, :, None] & mask[:, None, :]
    _check("nodes", nodes, 2, self.atoms, "atoms")
    _check("edges", edges, 3, self.bonds, "bonds")
    if edges.shape[:3] != pairs.shape:
      raise UserError(f"MessagePassing: edges has shape {edges.shape}, expected {pairs.shape} for the nodes.")
    if self.bonds is None:
      adjacency = (edges != 0).any(axis=-1) & pairs
      edges = kept(edges, adjacency)
    else:
      adjacency = (edges != 0) & pairs
      edges = jnp.where(adjacency, edges, 0)
    if self.atoms is None:
      nodes = nn.Dense(self.width, name="embedding")(kept(nodes, mask))
    else:
      start = nn.initializers.normal(1.0)
      nodes = nn.Embed(self.atoms, self.width, embedding_init=start, name="embedding")(jnp.where(mask, nodes, 0))
    return {"nodes": constrain(nodes), "edges": edges, "adjacency": adjacency, "mask": mask}

  def _pool(self, given: Mapping[str, jax.Array]) -> Any:
    nodes, mask = LayerNorm(name="norm")(given["nodes"]), given["mask"]
    if self.pool is None:
      return {"nodes": kept(nodes, mask), "mask": mask}
    return pooled("MessagePassing", self.pool, nodes, mask, ("sum", "mean"))


class _Layer(nn.Module):
  bonds: int | None
  activation: Callable[[jax.Array], jax.Array]
  dropout: float

  @nn.compact
  def __call__(self, nodes: jax.Array, edges: jax.Array, adjacency: jax.Array, train: bool) -> jax.Array:
    width = nodes.shape[-1]
    z = LayerNorm(name="norm")(nodes)
    if self.bonds is None:
      messages = kept(self.activation(z[:, None] + nn.Dense(width, name="edges")(edges)), adjacency).sum(axis=2)
    else:
      # Edges of one kind bring the same message from a node, so their sum is a product of matrices.
      kinds = nn.Embed(self.bonds, width, name="edges")(jnp.arange(1, self.bonds))
      there = jax.nn.one_hot(edges - 1, self.bonds - 1, dtype=z.dtype)
      messages = jnp.einsum("bvuk,bukw->bvw", there, self.activation(z[:, :, None] + kinds[None, None]))
    epsilon = self.param("epsilon", nn.initializers.zeros, ())
    y = constrain(self.activation(nn.Dense(2 * width)((1 + epsilon) * z + messages)))
    return constrain(nodes + nn.Dropout(self.dropout, deterministic=not train)(nn.Dense(width)(y)))


def _check(name: str, x: jax.Array, rank: int, kinds: int | None, option: str) -> None:
  """Raises a `UserError` for vectors in place of kinds, and the other way round."""
  if kinds is None and (x.ndim != rank + 1 or not jnp.issubdtype(x.dtype, jnp.floating)):
    advice = f"vectors: for kinds, say how many there are, {option}="
  elif kinds is not None and (x.ndim != rank or not jnp.issubdtype(x.dtype, jnp.integer)):
    advice = f"integers, one for each: {option}=None takes vectors"
  else:
    return
  raise UserError(f"MessagePassing: {name} is {x.dtype}{list(x.shape)}, expected {advice}.")
