"""Balancers: how task gradients are combined, one method per file."""

from mtl_jax._core.gram import gram as gram
from mtl_jax.balance.aligned import aligned as aligned
from mtl_jax.balance.balancer import Balancer as Balancer
from mtl_jax.balance.balancer import Stats as Stats
from mtl_jax.balance.cagrad import cagrad as cagrad
from mtl_jax.balance.chain import chain as chain
from mtl_jax.balance.config import config as config
from mtl_jax.balance.constant import constant as constant
from mtl_jax.balance.cosmos import cosmos as cosmos
from mtl_jax.balance.db import db as db
from mtl_jax.balance.dualproj import dualproj as dualproj
from mtl_jax.balance.dwa import dwa as dwa
from mtl_jax.balance.equal import equal as equal
from mtl_jax.balance.excess import excess as excess
from mtl_jax.balance.fairgrad import fairgrad as fairgrad
from mtl_jax.balance.famo import famo as famo
from mtl_jax.balance.geometric import geometric as geometric
from mtl_jax.balance.graddrop import graddrop as graddrop
from mtl_jax.balance.gradnorm import gradnorm as gradnorm
from mtl_jax.balance.gradvac import gradvac as gradvac
from mtl_jax.balance.imtl_g import imtl_g as imtl_g
from mtl_jax.balance.imtl_l import imtl_l as imtl_l
from mtl_jax.balance.krum import krum as krum
from mtl_jax.balance.log_losses import log_losses as log_losses
from mtl_jax.balance.metabalance import metabalance as metabalance
from mtl_jax.balance.mgda import mgda as mgda
from mtl_jax.balance.moco import moco as moco
from mtl_jax.balance.modo import modo as modo
from mtl_jax.balance.nash import nash as nash
from mtl_jax.balance.pbi import pbi as pbi
from mtl_jax.balance.pcd import pcd as pcd
from mtl_jax.balance.pcgrad import pcgrad as pcgrad
from mtl_jax.balance.per_group import per_group as per_group
from mtl_jax.balance.random import random as random
from mtl_jax.balance.rescale import rescale as rescale
from mtl_jax.balance.scale_invariant import scale_invariant as scale_invariant
from mtl_jax.balance.sdmgrad import sdmgrad as sdmgrad
from mtl_jax.balance.smooth import smooth as smooth
from mtl_jax.balance.stch import stch as stch
from mtl_jax.balance.trimmed_mean import trimmed_mean as trimmed_mean
from mtl_jax.balance.uncertainty import uncertainty as uncertainty
from mtl_jax.balance.upgrad import upgrad as upgrad


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
