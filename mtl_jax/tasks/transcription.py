"""Transcription: the text that is spoken or written in a sequence, without knowing where each symbol is."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._core.errors import UserError
from mtl_jax._core.held import first_example
from mtl_jax.tasks import _labels, _weights, decoding
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task


def transcription(
  label: str,
  alphabet: Sequence[str],
  *,
  mask: str | None = None,
  weight: str | None = None,
  space: str = " ",
  beam: int = 0,
) -> Task:
  r"""A text for each sequence of frames, by connectionist temporal classification (CTC).

  $$ \ell = -\frac{1}{\max(|y|, 1)} \log \sum_{\pi \to y} \prod_t p_t(\pi_t), \qquad p_t = softmax(\hat y_t) $$

  over all ways $\pi$ to write the text y with one symbol or a blank for each frame, of which repetitions count once.
  Dividing by the length of the text makes the unit nats per symbol, as the mean of PyTorch's `CTCLoss` does. Where a
  text does not fit into its frames, one for each symbol and one between equal neighbours, the loss is infinite, and
  training stops: give the network shorter frames.

  The task's loss is $\sum_b w_b \ell_b / \sum_b w_b$ over the batch, with w the product of mask and weight.

  Args:
    label: The key of the labels in the batch, (B, S) integers, the numbers of symbols in `alphabet`, and -1 behind the
      last, as `mtl.data.letters` gives; a text may be empty. Predictions are logits (B, T, C + 1), the blank last, or
      `{"x": logits, "mask": (B, T)}`, False at frames of padding.
    alphabet: The C symbols, a string of letters or a list of any texts.
    mask: The key of the labels' mask, (B,) in [0, 1]; None: all are labelled. Masked labels may hold any value.
    weight: The key of any weights of the examples, (B,) at least 0; None: ones. Loss and metrics alike use them.
    space: The symbol that divides words; if it is none of the alphabet, each text is one word.
    beam: How many prefixes a beam search keeps, on the host, for what `mtl-jax predict` writes; 0: the most probable
      symbol of each frame, as in the metrics.

  Returns:
    The task, with the metrics wer (main) and cer, the error rates of words and of symbols in the data set: edits over
    what is right, spaces at both ends left out. Outputs are `symbols` (B, T), -1 behind the last, and with `beam` also
    `log_probability` (B, T, C + 1).

  Raises:
    UserError: An alphabet with less than one symbol or with one twice, or `beam` below 0.

  >>> task = transcription("text", "ab")
  >>> logits = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]]))
  >>> loss = task.loss(logits, {"text": jnp.array([[0]])})  # "a" by aa, a-blank and blank-a: 1/4 + 1/8 + 1/8
  >>> loss.round(4).tolist(), task.record({"symbols": task.output(logits)["symbols"][0]})
  ([0.6931], {'text': 'a'})

  References:
    Graves et al., *Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with Recurrent Neural
    Networks*, ICML 2006.
  """
  what, symbols = f"transcription of {label!r}", list(alphabet)
  if not symbols or len(set(symbols)) < len(symbols):
    raise UserError(f"{what}: the alphabet is {alphabet!r}, expected symbols, each once.")
  if beam < 0:
    raise UserError(f"{what}: beam is {beam}, expected at least 0.")
  count, divider = len(symbols), symbols.index(space) if space in symbols else None
  label_of = functools.partial(_labels.read, key=label, kind="label")

  def each(y):
    return np.ones(y.shape[:1], bool)

  weights_of = None if mask is None and weight is None else _weights.weights_of(label, mask, weight, each)

  def frames(prediction: Any) -> tuple[jax.Array, jax.Array]:
    given = prediction if isinstance(prediction, Mapping) else {"x": prediction}
    if "x" not in given or given["x"].ndim != 3 or given["x"].shape[-1] != count + 1:
      found = {key: value.shape for key, value in given.items()} if "x" not in given else given["x"].shape
      raise UserError(
        f"the prediction for label {label!r} is {found}, expected logits (B, T, {count + 1}), the blank last, or "
        "{'x': logits, 'mask': (B, T)}."
      )
    logits, own = jnp.asarray(given["x"]), given.get("mask")
    own = jnp.ones(logits.shape[:2], bool) if own is None else jnp.asarray(own).astype(bool)
    if own.shape != logits.shape[:2]:
      raise UserError(f"the prediction for label {label!r} has the mask {own.shape} for logits {logits.shape}.")
    return logits, own

  def loss(prediction, batch):
    logits, own = frames(prediction)
    y = label_of(batch)
    if y.ndim != 2 or len(y) != len(logits) or not jnp.issubdtype(y.dtype, jnp.integer):
      raise UserError(f"label {label!r} is {y.dtype}{list(y.shape)}, expected integers ({len(logits)}, S).")
    y = _weights.where_labelled(y, weights_of and weights_of(batch)).astype(jnp.int32)
    there = y >= 0
    size = jnp.sum(there, axis=1)
    with jax.numpy_dtype_promotion("standard"):
      total = optax.ctc_loss(
        logits.astype(jnp.float32), (~own).astype(jnp.float32), jnp.where(there, y, count),
        (~there).astype(jnp.float32), blank_id=count,
      )  # fmt: skip
    needed = size + jnp.sum((y[:, 1:] == y[:, :-1]) & there[:, 1:], axis=1)
    fits = needed <= jnp.sum(own, axis=1)
    return jnp.where(fits, total.astype(jnp.float32) / jnp.maximum(size, 1).astype(jnp.float32), jnp.inf)

  def check(name, arrays):
    y, counted = _labels.labels_of(name, arrays, label, mask, weight, (None,), each)
    _labels.check_integers(name, label, y)
    wrong = counted[:, None] & ((y < -1) | (y >= count))
    if wrong.any():
      raise UserError(
        f"task {name!r}: label {label!r} holds {y[wrong][0]} in example {first_example(wrong)}, expected symbols in "
        f"[0, {count - 1}], and -1 behind the last."
      )
    holes = counted[:, None] & (y[:, 1:] >= 0) & (y[:, :-1] < 0)
    if holes.any():
      raise UserError(
        f"task {name!r}: label {label!r} has a symbol behind -1 in example {first_example(holes)}, expected -1 only "
        "behind the last: mtl.data.letters makes such labels."
      )
    _labels.check_any(name, label, counted)

  def found(prediction):
    return decoding.greedy(*frames(prediction), divider)

  def decide(prediction, y):
    return found(prediction), decoding.stripped(y.astype(jnp.int32), divider)

  def output(prediction):
    outputs = {"symbols": found(prediction)}
    return outputs | ({"log_probability": decoding.probabilities(*frames(prediction))} if beam else {})

  def record(outputs):
    best = decoding.beam(outputs["log_probability"], beam)[0].symbols if beam else np.asarray(outputs["symbols"])
    text = decoding.spelled(best, symbols)
    return {"text": text if divider is None else text.strip(space)}

  return Task(
    loss=loss,
    mask=weights_of,
    metrics={
      "wer": _metrics.word_error_rate(decide, divider),
      "cer": _metrics.character_error_rate(decide),
    },
    label=label_of,
    output=output,
    check=check,
    checked=(label,),
    record=record,
  )
