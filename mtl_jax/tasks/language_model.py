"""Language models: the next token at every position of a text."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._core.errors import UserError
from mtl_jax.tasks import _labels, _weights
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task


def language_model(
  label: str, vocabulary: int, *, padding: int = 0, mask: str | None = None, weight: str | None = None
) -> Task:
  r"""The next token of a text, by softmax cross entropy.

  $$ \ell_{bi} = -\log p_{bi}(x_{b, i + 1}), \qquad p_{bi} = softmax(\hat y_{bi}) $$

  for each position i behind which there is a token of the same text. The label is the input itself, and the task shifts
  it: a text that is to be predicted from its first token on begins with a token of its own for that, and one whose end
  is to be predicted ends with one. The network must not see the tokens behind a position, as
  `mtl.nn.TemporalConv(causal=True)` does not.

  The task's loss is the mean over all tokens that are predicted in the batch, weighted by the product of mask and
  weight.

  Args:
    label: The key of the tokens in the batch, most often that of the input: (B, L) integers in [0, vocabulary), or
      `{"tokens": (B, L), "segments": (B, L)}`, where no token is predicted from another segment, such as a sentence
      that shares its row. Predictions are logits (B, L, V), or `{"x": logits}`; those of the last position are not
      used.
    vocabulary: The number V of tokens.
    padding: The token that stands for none.
    mask: The key of a mask in [0, 1], (B,), or (B, L) of the positions that predict; None: all count.
    weight: The key of any weights at least 0, (B,) or (B, L); None: ones. Loss and metrics alike use them.

  Returns:
    The task, with the metrics perplexity (main), the exponential of the mean loss over all tokens of the data set, and
    accuracy. Outputs are `next` (B, L), the most probable next token at each position.

  Raises:
    UserError: `vocabulary` is below 2.

  >>> task = language_model("text", 4)
  >>> batch = {"text": jnp.array([[3, 1, 2, 0]])}  # 1 is to be predicted from 3, and 2 from 1
  >>> task.label(batch).tolist(), task.mask(batch).tolist()
  ([[1, 2, -1, -1]], [[1.0, 1.0, 0.0, 0.0]])
  >>> task.loss(jnp.zeros((1, 4, 4)), batch)[0, 0].round(4).item()  # log 4
  1.3863
  """
  if vocabulary < 2:
    raise UserError(f"language_model of {label!r}: vocabulary is {vocabulary}, expected at least 2 tokens.")

  def shifted(batch):
    given = _labels.read(batch, label, "label")
    tokens = _tokens(label, given)
    if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
      raise UserError(f"label {label!r} is {tokens.dtype}{list(tokens.shape)}, expected tokens, integers (B, L).")
    tokens = jnp.asarray(tokens).astype(jnp.int32)
    there = tokens != padding
    if isinstance(given, Mapping) and "segments" in given:
      segments = jnp.asarray(given["segments"])
      there = there & (segments > 0) & (segments == jnp.pad(segments[:, :-1], ((0, 0), (1, 0))))
    return jnp.pad(jnp.where(there, tokens, -1)[:, 1:], ((0, 0), (0, 1)), constant_values=-1)

  given_weights = _weights.weights_of(label, mask, weight, lambda y: y >= 0)

  def weights_of(batch):
    assert given_weights is not None
    return given_weights({**batch, label: shifted(batch)})

  def logits_of(prediction: Any, shape: tuple[int, ...] | None = None) -> jax.Array:
    logits = prediction["x"] if isinstance(prediction, Mapping) and "x" in prediction else prediction
    if isinstance(logits, Mapping) or logits.shape[-1:] != (vocabulary,) or shape not in (None, logits.shape[:-1]):
      found = list(logits) if isinstance(logits, Mapping) else logits.shape
      raise UserError(
        f"the prediction for label {label!r} is {found}, expected logits {(*(shape or ('B', 'L')), vocabulary)}, or "
        "{'x': logits}."
      )
    return logits

  def nats(prediction, y):
    logits = logits_of(prediction, y.shape).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(y, 0))

  def decide(prediction):
    return jnp.argmax(logits_of(prediction), axis=-1)

  def check(name, arrays):
    given = _labels.read(arrays, label, f"label of task {name!r}")
    tokens = np.asarray(_tokens(label, given))
    there = functools.partial(np.not_equal, padding)
    y, counted = _labels.labels_of(name, {**arrays, label: tokens}, label, mask, weight, (None,), there)
    _labels.check_integers(name, label, y)
    told = f"tokens in [0, {vocabulary - 1}], {padding} for padding"
    _labels.check_range(name, label, y, counted, vocabulary, told)
    _labels.check_any(name, label, counted)

  return Task(
    loss=lambda prediction, batch: nats(prediction, shifted(batch)),
    mask=weights_of,
    metrics={
      "perplexity": _metrics.mean(nats, higher_is_better=False, final=jnp.exp),
      "accuracy": _metrics.accuracy(decide),
    },
    label=shifted,
    output=lambda prediction: {"next": decide(prediction)},
    check=check,
    checked=(label,),
  )


def _tokens(label: str, given: Any) -> Any:
  if not isinstance(given, Mapping):
    return given
  if "tokens" not in given:
    found = ", ".join(map(repr, given))
    raise UserError(
      f"label {label!r} has the entries {found}, expected 'tokens', and 'segments' where rows are packed."
    )
  return given["tokens"]
