"""mtl_jax: multi-task learning in JAX."""

from mtl_jax import arch as arch
from mtl_jax import balance as balance
from mtl_jax import bilevel as bilevel
from mtl_jax import data as data
from mtl_jax import engine as engine
from mtl_jax import nn as nn
from mtl_jax import shard as shard
from mtl_jax import tasks as tasks
from mtl_jax._errors import UserError as UserError
from mtl_jax.aggregate import aggregate as aggregate
from mtl_jax.delta_m import delta_m as delta_m
from mtl_jax.net import Net as Net
from mtl_jax.net import Split as Split
from mtl_jax.net import from_equinox as from_equinox
from mtl_jax.net import from_linen as from_linen
from mtl_jax.net import from_nnx as from_nnx
from mtl_jax.objective import Objective as Objective
from mtl_jax.objective import objective as objective
from mtl_jax.shard import make_mesh as make_mesh
from mtl_jax.tasks import Task as Task
from mtl_jax.train import Fit as Fit
from mtl_jax.train import TrainState as TrainState
from mtl_jax.train import fit as fit
from mtl_jax.train import init_train_state as init_train_state
from mtl_jax.train import make_bilevel_step as make_bilevel_step
from mtl_jax.train import make_train_step as make_train_step
