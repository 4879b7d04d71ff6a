"""Dependencies: the syntactic tree of each sentence, every word with its head and its relation to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._core.errors import UserError
from mtl_jax._core.segments import columns, starts
from mtl_jax.tasks import _dependency_labels, _labels, _trees, _weights
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task

_SHAPES = "arc (B, L, L + 1), dependent (B, L, R, D) and head (B, L + 1, D)"


def dependencies(
  heads: str,
  relations: str,
  num_relations: int,
  *,
  segments: str | tuple[str, ...] | None = None,
  mask: str | None = None,
  weight: str | None = None,
  names: Sequence[str] | None = None,
) -> Task:
  r"""The head of every word and its relation to it, by softmax cross entropy of both.

  $$ \ell_i = -\log p_i(h_i) - \log q_i(r_i | h_i), \qquad p_i = softmax(a_i), \quad
     q_i(r | j) = softmax_r(u_{ir} \cdot v_j) $$

  The task's loss is the mean over all words of the batch, weighted by the product of mask and weight. Relations are
  learned at the true heads, and predicted at those of the tree.

  Args:
    heads: The key of the heads in the batch, (B, L) integers as in CoNLL-U: the number of the head in its sentence,
      from 1, 0 for the root, and -1 at padding and where there is none.
    relations: The key of the relations, (B, L) integers in [0, num_relations).
    num_relations: Their number R. Predictions are `arc` (B, L, L + 1), the scores a of the root and of all positions of
      the row as heads, as small as the dtype has where a word cannot have that head; and, for relations,
      `dependent` u (B, L, R, D) and `head` v (B, L + 1, D): what `mtl.nn.BiaffineHead` gives.
    segments: Where a row has several sentences, the key, or the path such as `("x", "segments")`, of the batch entry
      that numbers them, (B, L) integers, 0 at padding; None: a row is one sentence.
    mask: The key of a mask in [0, 1], (B,) or (B, L); None: all are labelled but for -1. Masked labels may hold
      anything.
    weight: The key of any weights at least 0, (B,) or (B, L); None: ones.
    names: Those of the relations; None: their numbers.

  Returns:
    The task, with the metrics uas (main), the share of words with the right head, and las, those with the right
    relation to it, too; both of trees. Outputs are `head` (B, L), as the labels, and `relation` (B, L): for each
    sentence the tree of the greatest probability with one root, found exactly; -1 at padding.

  Raises:
    UserError: An option is out of range.

  >>> task = dependencies("heads", "relations", 2, names=["root", "obj"])
  >>> y = {"arc": jnp.array([[[9.0, 0, 0], [8, 9, 0]]])}
  >>> y |= {"dependent": jnp.zeros((1, 2, 2, 1)), "head": jnp.zeros((1, 3, 1))}
  >>> batch = {"heads": jnp.array([[0, 1]]), "relations": jnp.array([[0, 1]])}
  >>> task.output(y)["head"].tolist(), task.loss(y, batch).shape
  ([[0, 1]], (1, 2))

  References:
    Dozat and Manning, *Deep Biaffine Attention for Neural Dependency Parsing*, ICLR 2017.
  """
  what = f"dependencies of {heads!r}"
  if num_relations < 2:
    raise UserError(f"{what}: num_relations is {num_relations}, expected at least 2.")
  if names is not None and (isinstance(names, str) or len(names) != num_relations):
    raise UserError(f"{what}: names are {names!r}, expected {num_relations} of them.")
  named = [str(number) for number in range(num_relations)] if names is None else list(names)
  weights_of = _weights.weights_of(heads, mask, weight, lambda y: y >= 0)

  def label_of(batch):
    """Columns of the row in place of numbers in the sentence."""
    own, relation = (_labels.read(batch, key, "label") for key in (heads, relations))
    for key, y in ((heads, own), (relations, relation)):
      if not jnp.issubdtype(y.dtype, jnp.integer) or y.ndim != 2 or y.shape != own.shape:
        raise UserError(f"label {key!r} is {y.dtype} {y.shape}, expected integers (B, L), alike for both labels.")
    sentence = jnp.zeros(own.shape, jnp.int32) if segments is None else _labels.at(batch, segments, "segments")
    own = own.astype(jnp.int32)
    return {"head": jnp.where(own > 0, own + starts(sentence), 0), "relation": relation.astype(jnp.int32)}

  def loss(prediction, batch):
    y = label_of(batch)
    _expect(heads, prediction, y["head"].shape, num_relations)
    weights = weights_of and weights_of(batch)
    column, kinds = (_weights.where_labelled(y[key], weights) for key in ("head", "relation"))
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels
    return cross_entropy(prediction["arc"], column) + cross_entropy(_relations(prediction, column), kinds)

  def decide(prediction):
    arc = prediction["arc"]
    found = _trees.best_trees(jnp.where(_possible(arc), jax.nn.log_softmax(arc), jnp.finfo(arc.dtype).min))
    return found, jnp.argmax(_relations(prediction, found), axis=-1).astype(jnp.int32)

  def right_head(prediction, y):
    return (decide(prediction)[0] == y["head"]).astype(jnp.float32)

  def right(prediction, y):
    found, relation = decide(prediction)
    return ((found == y["head"]) & (relation == y["relation"])).astype(jnp.float32)

  def output(prediction):
    possible = _possible(prediction["arc"])
    there, is_word = possible[:, :, 1:], possible.any(axis=-1)
    places = columns(is_word)
    first = jnp.where(there.any(axis=-1), jnp.argmax(there, axis=-1).astype(jnp.int32), places)
    begin = jnp.minimum(first, places)  # of the sentence, since a word is not its own head
    found, relation = decide(prediction)
    number = jnp.where(found > 0, found - begin, 0)
    return {"head": jnp.where(is_word, number, -1), "relation": jnp.where(is_word, relation, -1)}

  def record(outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    pairs = zip(np.asarray(outputs["head"]), np.asarray(outputs["relation"]), strict=True)
    return [{"head": int(head), "relation": named[relation]} for head, relation in pairs if head >= 0]

  return Task(
    loss=loss,
    mask=weights_of,
    metrics={
      "uas": _metrics.mean(right_head, higher_is_better=True),
      "las": _metrics.mean(right, higher_is_better=True),
    },
    label=label_of,
    output=output,
    check=lambda name, arrays: _dependency_labels.check(
      name, arrays, heads, relations, num_relations, segments, mask, weight
    ),
    checked=(heads, relations),
    record=record,
  )


def _possible(arc: jax.Array) -> jax.Array:
  """Which heads a word can have."""
  return arc > jnp.finfo(arc.dtype).min / 2


def _relations(prediction: Mapping[str, jax.Array], column: jax.Array) -> jax.Array:
  """The scores (B, L, R) of the relations of each word to the head in that column."""
  head = jnp.take_along_axis(prediction["head"], column[..., None], axis=1)
  return jnp.einsum("blrd,bld->blr", prediction["dependent"], head)


def _expect(label: str, prediction: Any, shape: tuple[int, ...], num_relations: int) -> None:
  found = {k: v.shape for k, v in prediction.items()} if isinstance(prediction, Mapping) else {"": prediction.shape}
  size, length = shape
  arc, dependent, head = (found.get(key, ()) for key in ("arc", "dependent", "head"))
  expected = (*shape, length + 1), (*shape, num_relations), (size, length + 1, *dependent[-1:])
  if (arc, dependent[:-1], head) != expected:
    told = ", ".join(f"{key} {value}".strip() for key, value in found.items())
    raise UserError(
      f"the prediction for label {label!r} is {told}, expected {_SHAPES} with B = {size}, L = {length} and R = "
      f"{num_relations}: what mtl.nn.BiaffineHead({num_relations}) gives."
    )
