"""Balancers: how task gradients are combined, one method a file."""

from mtl_jax.balance._balancer import Balancer as Balancer
from mtl_jax.balance._balancer import Stats as Stats
from mtl_jax.balance._gram import gram as gram
from mtl_jax.balance.constant import constant as constant
from mtl_jax.balance.dwa import dwa as dwa
from mtl_jax.balance.equal import equal as equal
from mtl_jax.balance.mgda import mgda as mgda
from mtl_jax.balance.nash import nash as nash
from mtl_jax.balance.pcgrad import pcgrad as pcgrad
from mtl_jax.balance.uncertainty import uncertainty as uncertainty


def names() -> tuple[str, ...]:
  """The names of all balancers, each a function of this module."""
  return ("constant", "dwa", "equal", "mgda", "nash", "pcgrad", "uncertainty")
