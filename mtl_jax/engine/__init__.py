"""Gradient engines: how a balancer's statistics are obtained and its weights pulled back."""

from mtl_jax.engine._engine import Engine as Engine
from mtl_jax.engine._engine import check_serves as check_serves
from mtl_jax.engine._engine import missing as missing
from mtl_jax.engine.auto import auto as auto
from mtl_jax.engine.every import every as every
from mtl_jax.engine.factored import factored as factored
from mtl_jax.engine.features import features as features
from mtl_jax.engine.gram import gram as gram
from mtl_jax.engine.losses import losses as losses
from mtl_jax.engine.sketched import sketched as sketched
from mtl_jax.engine.stacked import stacked as stacked


def names() -> tuple[str, ...]:
  """The names of all engines, each a function of this module."""
  return ("auto", "every", "factored", "features", "gram", "losses", "sketched", "stacked")
