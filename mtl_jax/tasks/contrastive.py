"""Contrastive pairs: which of all things in a batch belongs to which."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.tasks import _labels
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task
from mtl_jax.tasks.similarity import unit


def contrastive(temperature: float = 0.05, *, mask: str | None = None) -> Task:
  r"""Pairs that belong together, told from all others of the batch by their cosines: InfoNCE, in both directions.

  $$ \ell_b = - \frac12 \log \frac{e^{c_{bb} / \tau}}{\sum_i e^{c_{bi} / \tau}}
              - \frac12 \log \frac{e^{c_{bb} / \tau}}{\sum_i e^{c_{ib} / \tau}}, \qquad
     c_{ij} = \frac{u_i \cdot v_j}{|u_i| |v_j|} $$

  It needs no labels, so it mostly goes beside tasks that have some, as `mtl.tasks.auxiliary(mtl.tasks.contrastive(),
  0.1)`. The other examples of the batch are what a pair is told from: with `accumulate` all of the batch, under
  `jax.jit` on a mesh that of all devices, in a program for each device its own.

  Args:
    temperature: $\tau$, above 0.
    mask: The key of weights (B,) at least 0 in the batch: an example of weight 0 is no pair, and no other is told from
      it. None: all are pairs.

  Returns:
    The task; predictions are pairs of vectors (B, 2, D), such as `mtl.nn.SegmentPool(most=2)` gives of rows of two
    sentences. Its metric is top1, the share of examples whose partner is the nearest of all partners in the data set.
    Outputs are `cosine` (B,).

  Raises:
    UserError: `temperature` is not above 0.

  >>> task = contrastive()
  >>> task.loss(jnp.array([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]]), {}).round(4).tolist()
  [0.0, 0.0]

  References:
    Oord et al., *Representation Learning with Contrastive Predictive Coding*, 2018.
    Radford et al., *Learning Transferable Visual Models From Natural Language Supervision*, ICML 2021, for both
    directions.
  """
  if not 0 < temperature < math.inf:
    raise UserError(f"contrastive: temperature is {temperature}, expected above 0.")

  def units(prediction: Any) -> jax.Array:
    p = jnp.asarray(prediction)
    if p.ndim != 3 or p.shape[1] != 2:
      raise UserError(f"contrastive: the prediction has shape {p.shape}, expected pairs of vectors (B, 2, D).")
    return unit(p)

  def weights(batch):
    return _labels.read(batch, mask or "", "mask").astype(jnp.float32)

  def loss(prediction, batch):
    pairs = units(prediction)
    logits = jnp.einsum("id,jd->ij", pairs[:, 0], pairs[:, 1], precision="highest") / temperature
    if mask is not None:  # a finite number, whose softmax has derivatives
      there = weights(batch) > 0
      logits = jnp.where((there[:, None] & there[None]) | jnp.eye(len(there), dtype=bool), logits, -1e9)
    both = jax.nn.log_softmax(logits, axis=1) + jax.nn.log_softmax(logits, axis=0)
    return -jnp.diagonal(both) / 2

  return Task(
    loss=loss,
    mask=None if mask is None else weights,
    metrics={"top1": _metrics.collected(functools.partial(_top1, at_once=1024), score=units)},
    label=lambda batch: (),
    output=lambda prediction: {"cosine": jnp.sum(jnp.prod(units(prediction), axis=1), axis=-1)},
    record=lambda outputs: {"cosine": round(float(outputs["cosine"]), 4)},
  )


def _top1(pairs: np.ndarray, labels: Any, weights: np.ndarray, at_once: int) -> float:
  """The weighted share of examples whose partner is the nearest; equal ones do not count as right by their order."""
  found = []
  for start in range(0, len(pairs), at_once):
    cosines = pairs[start : start + at_once, 0] @ pairs[:, 1].T
    own = cosines[np.arange(len(cosines)), start + np.arange(len(cosines))].copy()
    cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -np.inf
    found.append(own > cosines.max(axis=1))
  return float(np.average(np.concatenate(found), weights=weights))
