"""Trees over the words of sentences: the best one by the scores of its arcs, and checks of given ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

_LEAST = -40.0  # logarithms of probabilities below it count as this


def best_trees(scores: jax.Array) -> jax.Array:
  r"""The heads of the words of rows, so that they make a tree of the greatest sum of scores for every sentence.

  Exact, by the algorithm of Chu, Liu and Edmonds with all cycles of a round contracted at once: every component takes
  the best arc that leads into it, which is then subtracted from all such arcs; components in a cycle become one, until
  there is no cycle. Then, from the last round back to the first, the arc that enters a cycle takes the place of the one
  it has there. One word of each sentence has the root for its head: arcs from the root cost more than all others can
  bring. Rounding is that of float32 at 40 L.

  Args:
    scores: (B, L, L + 1) logarithms of probabilities: entry [b, i, 0] of the arc from the root to word i, [b, i, j + 1]
      of that from word j. Arcs that are not there have numbers as small as the dtype has; words of different sentences
      of a row have no arcs, and padding has none at all.

  Returns:
    (B, L) int32, the columns of the heads; 0 at padding.

  References:
    Edmonds, *Optimum Branchings*, 1967.
  """
  size = scores.shape[1] + 1
  there = scores > jnp.finfo(scores.dtype).min / 2
  cost = jnp.where(jnp.arange(size) == 0, -_LEAST * size, 0.0).astype(jnp.float32)
  arcs = jnp.where(there, jnp.maximum(scores.astype(jnp.float32), _LEAST) - cost[None, None], -jnp.inf)
  padding = ~there.any(axis=-1)
  arcs = arcs.at[:, :, 0].set(jnp.where(padding, 0.0, arcs[:, :, 0]))
  arcs = jnp.pad(arcs, ((0, 0), (1, 0), (0, 0)), constant_values=-jnp.inf)
  return jax.vmap(_heads)(arcs)[:, 1:]


def _heads(arcs: jax.Array) -> jax.Array:
  """The head of each of the nodes (N,), of which 0 is the root, from scores (N, N) of arcs to the first index."""
  size = len(arcs)
  nodes = jnp.arange(size, dtype=jnp.int32)
  doublings = max(size - 1, 1).bit_length()

  def choose(arcs, component):
    """The best arc into each component, as the node it enters and the node it comes from, and its score."""
    outside = jnp.where(component[:, None] == component[None], -jnp.inf, arcs)
    head, score = jnp.argmax(outside, axis=1).astype(jnp.int32), jnp.max(outside, axis=1)
    best = jnp.full(size, -jnp.inf).at[component].max(score)
    entered = jnp.full(size, size, jnp.int32).at[component].min(jnp.where(score == best[component], nodes, size))
    is_one = (component == nodes) & (nodes > 0)
    entered = jnp.where(is_one, entered, 0)
    return entered, jnp.where(is_one, head[entered], 0), jnp.where(is_one, best, 0.0)

  def cycles(parent):
    """Whether each component is in a cycle of these parents, and the least component of that cycle."""
    far, least = parent, jnp.minimum(nodes, parent)
    for _ in range(doublings):
      far, least = far[far], jnp.minimum(least, least[far])
    on = jnp.zeros(size, bool).at[far].set(True) & (nodes > 0)
    return on, least

  def more(state):
    return state[0]

  def contract(state):
    _, arcs, component, number, history = state
    entered, head, score = choose(arcs, component)
    on, least = cycles(component[head])
    history = tuple(past.at[number].set(now) for past, now in zip(history, (component, entered, head), strict=True))
    merged = jnp.where(on, least, nodes)[component]
    return on.any(), arcs - score[component][:, None], merged, number + 1, history

  empty = jnp.zeros((size, size), jnp.int32)
  start = (jnp.ones((), bool), arcs, nodes, jnp.zeros((), jnp.int32), (empty, empty, empty))
  *_, rounds, (components, entered, heads) = jax.lax.while_loop(more, contract, start)

  def expand(i, taken):
    number, (above, its_node, its_head) = rounds - 2 - i, taken
    component = components[number]
    node, head = its_node[above], its_head[above]  # of each node's component above, the arc that enters it
    inside = component[node] == component
    node, head = jnp.where(inside, node, entered[number][component]), jnp.where(inside, head, heads[number][component])
    return component, node_of(component, node), node_of(component, head)

  def node_of(component, values):
    return jnp.zeros(size, jnp.int32).at[component].set(values)

  last = rounds - 1
  _, _, found = jax.lax.fori_loop(0, last, expand, (components[last], entered[last], heads[last]))
  return found


def first_cycle(heads: np.ndarray) -> tuple[int, int] | None:
  """The row and position of the first word from which no way along heads leads to the root, or None.

  Args:
    heads: (N, L) columns as in `best_trees`.
  """
  parent = np.concatenate([np.zeros((len(heads), 1), heads.dtype), heads], axis=1)
  for _ in range(parent.shape[1].bit_length()):
    parent = np.take_along_axis(parent, parent, axis=1)
  rows, places = np.nonzero(parent)
  return (int(rows[0]), int(places[0]) - 1) if rows.size else None
