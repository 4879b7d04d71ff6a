"""Planning: the train step compiled for accelerators that are not here, and what it would need of them."""

from mtl_jax.plan._chips import Chip as Chip
from mtl_jax.plan._chips import chip as chip
from mtl_jax.plan._collectives import Collective as Collective
from mtl_jax.plan._collectives import collectives as collectives
from mtl_jax.plan._plan import plan as plan
from mtl_jax.plan._report import Memory as Memory
from mtl_jax.plan._report import Report as Report
from mtl_jax.plan._report import Roofline as Roofline
from mtl_jax.plan._step import plan_step as plan_step
from mtl_jax.plan._table import table as table
from mtl_jax.plan._topology import open_topology as open_topology
