"""Balancers: how task gradients are combined, one method per file.

Each method is a function that returns a `Balancer`, for `mtl.fit`, `mtl.make_train_step` or `mtl.aggregate`. Its help
has T tasks, losses $l_i$, task gradients $g_i$ (J with one a row), their inner products, the Gram matrix $G = J J^T$,
and weights w, which make the update $u = J^T w$. The scale in brackets says what equal weighting would be there: ones
(sum scale), 1 / T each (mean or simplex scale), or neither (paper's scale). `rescale` brings methods to one scale.

Methods that read the losses, and cost what equal weighting costs (`famo`: one more forward pass):

- `equal`, `constant`, `random`: the plain sum; given weights; weights drawn anew in each step.
- `uncertainty`, `imtl_l`: learned scales of the losses.
- `dwa`, `famo`: tasks whose loss falls slowly weigh more.
- `geometric`, `scale_invariant`: products and logarithms of the losses, free of their units.
- `stch`, `cosmos`, `pbi`: scalarisations, for a preference among the tasks.

Methods that read the Gram matrix:

- `pcgrad`, `gradvac`: conflicting gradients are projected, or turned towards each other.
- `mgda`, `cagrad`: the least norm among all weighted means; the best worst gain near the mean.
- `sdmgrad`, `modo`: the least norm without the bias of noisy gradients, from two halves of the batch.
- `imtl_g`, `config`, `aligned`: equal projections, equal cosines, equal lengths.
- `nash`, `fairgrad`: bargaining among the tasks, and fairness.
- `upgrad`, `dualproj`: projections that harm no task.
- `gradnorm`, `metabalance`, `pcd`: gradients of like lengths; auxiliary tasks that serve a main one.
- `krum`: the gradients nearest to the others.

Methods that read the task gradients:

- `graddrop`, `trimmed_mean`: coordinate by coordinate, by sign or without extremes.
- `moco`, `excess`, `db`: with memory of earlier gradients.

Balancers of balancers:

- `chain`: one balancer on the losses that another has weighted.
- `smooth`: a moving average of the weights.
- `log_losses`: on the logarithms of the losses.
- `per_group`: a balancer for each group of shared parameters.
- `rescale`: weights on another scale.

To write a method:

- `Balancer`, `Stats`: its type, and what it gets to see.
- `gram`: the Gram matrix of stacked gradients.
- `solvers`: exact solvers of the small problems behind the methods.
- `names`, `combinators`: the names of all methods, and of all functions that make balancers of balancers.
- `as_balancer`: the balancer that a name stands for.
"""

from mtl_jax._core.gram import gram
from mtl_jax.balance import solvers
from mtl_jax.balance.aligned import aligned
from mtl_jax.balance.balancer import Balancer, Stats
from mtl_jax.balance.cagrad import cagrad
from mtl_jax.balance.chain import chain
from mtl_jax.balance.config import config
from mtl_jax.balance.constant import constant
from mtl_jax.balance.cosmos import cosmos
from mtl_jax.balance.db import db
from mtl_jax.balance.dualproj import dualproj
from mtl_jax.balance.dwa import dwa
from mtl_jax.balance.equal import equal
from mtl_jax.balance.excess import excess
from mtl_jax.balance.fairgrad import fairgrad
from mtl_jax.balance.famo import famo
from mtl_jax.balance.geometric import geometric
from mtl_jax.balance.graddrop import graddrop
from mtl_jax.balance.gradnorm import gradnorm
from mtl_jax.balance.gradvac import gradvac
from mtl_jax.balance.imtl_g import imtl_g
from mtl_jax.balance.imtl_l import imtl_l
from mtl_jax.balance.krum import krum
from mtl_jax.balance.log_losses import log_losses
from mtl_jax.balance.metabalance import metabalance
from mtl_jax.balance.mgda import mgda
from mtl_jax.balance.moco import moco
from mtl_jax.balance.modo import modo
from mtl_jax.balance.named import as_balancer, combinators, names
from mtl_jax.balance.nash import nash
from mtl_jax.balance.pbi import pbi
from mtl_jax.balance.pcd import pcd
from mtl_jax.balance.pcgrad import pcgrad
from mtl_jax.balance.per_group import per_group
from mtl_jax.balance.random import random
from mtl_jax.balance.rescale import rescale
from mtl_jax.balance.scale_invariant import scale_invariant
from mtl_jax.balance.sdmgrad import sdmgrad
from mtl_jax.balance.smooth import smooth
from mtl_jax.balance.stch import stch
from mtl_jax.balance.trimmed_mean import trimmed_mean
from mtl_jax.balance.uncertainty import uncertainty
from mtl_jax.balance.upgrad import upgrad

__all__ = [
  "Balancer",
  "Stats",
  "aligned",
  "as_balancer",
  "cagrad",
  "chain",
  "combinators",
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
  "gram",
  "imtl_g",
  "imtl_l",
  "krum",
  "log_losses",
  "metabalance",
  "mgda",
  "moco",
  "modo",
  "names",
  "nash",
  "pbi",
  "pcd",
  "pcgrad",
  "per_group",
  "random",
  "rescale",
  "scale_invariant",
  "sdmgrad",
  "smooth",
  "solvers",
  "stch",
  "trimmed_mean",
  "uncertainty",
  "upgrad",
]
