"""Balancers by name: what all of them are called, and the one that a name stands for."""

from __future__ import annotations

from typing import Any

from mtl_jax._core.named import named
from mtl_jax.balance.balancer import Balancer


def names() -> tuple[str, ...]:
  """The names of all balancers, each a function of this module."""
  return (
    "aligned",
    "cagrad",
    "config",
    "constant",
    "cosmos",
    "db",
    "dualproj",
    "dwa",
    "equal",
    "excess",
    "fairgrad",
    "famo",
    "geometric",
    "graddrop",
    "gradnorm",
    "gradvac",
    "imtl_g",
    "imtl_l",
    "krum",
    "metabalance",
    "mgda",
    "moco",
    "modo",
    "nash",
    "pbi",
    "pcd",
    "pcgrad",
    "random",
    "scale_invariant",
    "sdmgrad",
    "stch",
    "trimmed_mean",
    "uncertainty",
    "upgrad",
  )


def combinators() -> tuple[str, ...]:
  """The names of the functions that make balancers of balancers."""
  return ("chain", "log_losses", "per_group", "rescale", "smooth")


def as_balancer(given: Any, what: str = "balancer") -> Balancer:
  """The balancer that is given, or that a name stands for, with its defaults; all that take a balancer take either.

  Args:
    given: A balancer, or one of `names()`.
    what: Which option it is, for messages.

  Returns:
    The balancer.

  Raises:
    UserError: An unknown name, a method that has required options, or something that is no balancer, such as the
      function `mtl.balance.pcgrad`, uncalled.

  >>> as_balancer("pcgrad").needs
  frozenset({'gram'})
  """
  return named(what, given, Balancer, "mtl_jax.balance", names())
