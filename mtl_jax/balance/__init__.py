"""Balancers: how task gradients are combined, one method a file."""

from mtl_jax.balance._balancer import Balancer as Balancer
from mtl_jax.balance._balancer import Stats as Stats
from mtl_jax.balance._gram import gram as gram
from mtl_jax.balance.aligned import aligned as aligned
from mtl_jax.balance.cagrad import cagrad as cagrad
from mtl_jax.balance.config import config as config
from mtl_jax.balance.constant import constant as constant
from mtl_jax.balance.dualproj import dualproj as dualproj
from mtl_jax.balance.dwa import dwa as dwa
from mtl_jax.balance.equal import equal as equal
from mtl_jax.balance.fairgrad import fairgrad as fairgrad
from mtl_jax.balance.gradvac import gradvac as gradvac
from mtl_jax.balance.imtl_g import imtl_g as imtl_g
from mtl_jax.balance.krum import krum as krum
from mtl_jax.balance.mgda import mgda as mgda
from mtl_jax.balance.nash import nash as nash
from mtl_jax.balance.pcgrad import pcgrad as pcgrad
from mtl_jax.balance.uncertainty import uncertainty as uncertainty
from mtl_jax.balance.upgrad import upgrad as upgrad


def names() -> tuple[str, ...]:
  """The names of all balancers, each a function of this module."""
  return (
    "aligned",
    "cagrad",
    "config",
    "constant",
    "dualproj",
    "dwa",
    "equal",
    "fairgrad",
    "gradvac",
    "imtl_g",
    "krum",
    "mgda",
    "nash",
    "pcgrad",
    "uncertainty",
    "upgrad",
  )
