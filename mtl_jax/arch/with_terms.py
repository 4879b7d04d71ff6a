"""A net with further terms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mtl_jax._core.errors import UserError
from mtl_jax.net import Net
from mtl_jax.terms import Term


def with_terms(net: Net, terms: Mapping[str, Term]) -> Net:
  """The same net, trained with terms beside its own: penalties, losses of activations, consistencies.

  Args:
    net: The net.
    terms: By the names under which metrics show them, see `mtl.terms`.

  Returns:
    The net, with the same parameters and predictions.

  Raises:
    UserError: The net has a term of that name, or a term reads features of a net without a cut.

  >>> import flax.linen as nn, jax.numpy as jnp, mtl_jax as mtl
  >>> net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(8)), {"kind": mtl.from_linen(nn.Dense(3))})
  >>> sorted(with_terms(net, {"sparse": mtl.terms.l1("shared/kernel", strength=1e-4)}).terms)
  ['sparse']
  """
  for name in terms:
    if name in net.terms:
      raise UserError(f"with_terms: the net has a term {name!r} already: choose another name.")
  return dataclasses.replace(net, terms={**net.terms, **terms})
